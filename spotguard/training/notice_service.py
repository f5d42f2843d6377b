"""Asking the daemon for a notice, without ever keeping the training loop waiting."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

ASK_EVERY_SECONDS = 1.0
FIRST_ANSWER_SECONDS = 0.05
"""How long the first question waits for its answer: on one machine it takes two milliseconds."""
_ANSWER_SECONDS = 2.0


class NoticeService:
    """The newest answer of one address."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self._url = url
        self._token = token
        self._answer: Mapping[str, Any] | None = None
        self._asked_at = float("-inf")
        self._asking: threading.Thread | None = None
        self._lock = threading.Lock()

    def newest(self) -> Mapping[str, Any] | None:
        """The newest answer, None for `no notice` or when none is known. Asks again in the background when it is a second old.

        A notice stands while the daemon is silent: only an answer takes it back."""
        first = self._ask_if_due()
        if first is not None:
            first.join(FIRST_ANSWER_SECONDS)
        with self._lock:
            return self._answer

    def _ask_if_due(self) -> threading.Thread | None:
        """Start to ask unless that was done within a second or is still going on. The thread, if it is the very first one."""
        with self._lock:
            now = time.monotonic()
            if now - self._asked_at < ASK_EVERY_SECONDS or (self._asking is not None and self._asking.is_alive()):
                return None
            first = self._asking is None
            thread = threading.Thread(target=self._ask, name="spotguard-notice", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter is ending
                return None
            self._asked_at, self._asking = now, thread
        return thread if first else None

    def _ask(self) -> None:
        try:
            answer = self._answer_of_daemon()
        except (OSError, ValueError, http.client.HTTPException, RecursionError):
            return
        with self._lock:
            self._answer = answer

    def _answer_of_daemon(self) -> Mapping[str, Any] | None:
        """Raises OSError, ValueError or HTTPException when there is no usable answer."""
        connection, path = _connection(self._url)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self._token}"} if self._token else {})
            response = connection.getresponse()
            body = response.read(1 << 20)
        finally:
            connection.close()
        if response.status == 404:
            return None
        if response.status != 200:
            raise ValueError(f"status {response.status}")
        document = json.loads(body)
        if not isinstance(document, dict):
            raise ValueError("not an object")
        return document


def _connection(url: str) -> tuple[http.client.HTTPConnection, str]:
    """Not through urllib: that would ask the environment's proxy about this very machine."""
    if url.startswith("unix:"):
        return _UnixConnection(url.removeprefix("unix:")), "/interruption"
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    path = parts.path.rstrip("/").removesuffix("/interruption")
    return kind(parts.hostname or "", parts.port, timeout=_ANSWER_SECONDS), f"{path}/interruption"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_SECONDS)
        self.sock.connect(self._path)
