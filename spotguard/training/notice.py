"""Asking, at every step of a training loop, whether the machine is about to go."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from spotguard.training.notice_service import NoticeService

STALE_SECONDS = 600.0
"""A machine that still runs so long after a deadline outlived the notice: its disk was kept and started again, or nothing came of it."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """This machine is about to go."""

    kind: str
    """`terminate`, `stop`, `hibernate`, `rebalance`, `maintenance` or `scale-in`; `unknown` when the notice could not be understood.
    After a `rebalance` it is wise to save and go on."""
    deadline: datetime | None
    """When all must be saved and uploaded; None where no time is known."""
    seconds_left: float | None
    """Until the deadline, when this was asked; negative after it."""


def interruption(notice_file_or_url: str | os.PathLike[str], *, token: str | None = None) -> Interruption | None:
    """What is to happen to this machine, or None when nothing is, as far as is known.

    Takes the path of `trainer.notice_file`, or the daemon's address (`http://127.0.0.1:9477`, `unix:/run/spotguard.sock`; `token` is
    its `http.token`, needed where it does not listen on loopback). Meant to be called at every step: a file costs one `stat`, an
    address is asked in the background at most once a second, and only the very first call waits for an answer, up to 50 ms. Never
    raises for what happens outside: a daemon that is not there is no news. A rehearsal (`drill`) is none either."""
    place = os.fspath(notice_file_or_url)
    if place.startswith(("http://", "https://", "unix:")):
        return _understood(_service(place, token).newest())
    return _understood(_file(place))


_services: dict[tuple[str, str | None, int], NoticeService] = {}
_files: dict[str, tuple[tuple[int, int, int], Mapping[str, Any]]] = {}


def _service(url: str, token: str | None) -> NoticeService:
    key = url, token, os.getpid()  # a thread does not survive a fork, so a DataLoader worker that asks gets its own
    if key not in _services:
        _services[key] = NoticeService(url, token)
    return _services[key]


def _file(path: str) -> Mapping[str, Any] | None:
    """What the notice file holds; read again only when it is another one."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return None
    identity = stat.st_mtime_ns, stat.st_ino, stat.st_size
    known = _files.get(path)
    if known is None or known[0] != identity:
        known = _files[path] = identity, _content(path)
    return known[1]


def _content(path: str) -> Mapping[str, Any]:
    """Empty for what is no JSON object: that there is a file is news enough."""
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read(1 << 20))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _understood(document: Mapping[str, Any] | None) -> Interruption | None:
    if document is None or document.get("drill") is True:
        return None
    kind = document.get("kind")
    deadline = _moment(document.get("deadline"))
    left = None if deadline is None else deadline.timestamp() - time.time()
    if left is not None and left < -STALE_SECONDS:
        return None
    return Interruption(kind if isinstance(kind, str) else "unknown", deadline, left)


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
