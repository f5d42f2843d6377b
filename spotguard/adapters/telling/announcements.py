"""How others hear of events: the notice file and the hooks. Whatever fails here is logged and stops nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import structlog

from spotguard.adapters.telling.hook import run_hook
from spotguard.adapters.telling.notice_file import NoticeFile

log = structlog.get_logger()

T = TypeVar("T")

HOOK_SECONDS = 10.0
"""Time limit of a hook: longer than any message takes, short against a notice of two minutes."""
HOOK_SECONDS_OF: Mapping[str, float] = {"on_safe": 60.0}
"""`on_safe` may stop services or detach volumes: nothing waits for it any more."""
_DISK_SECONDS = 5.0
"""A notice file on a network disk that hangs must not hold up a drain."""


class LocalAnnouncements:
    def __init__(
        self,
        *,
        notice_file: Path | None = None,
        hooks: Mapping[str, Sequence[str]] | None = None,
        hook_seconds: Mapping[str, float] | None = None,
    ) -> None:
        """`hooks`: event -> command; `hook_seconds` overrides the time limit of single events."""
        self._notice_file = NoticeFile(notice_file) if notice_file is not None else None
        self._hooks = {event: tuple(command) for event, command in (hooks or {}).items() if command}
        self._limits = {**HOOK_SECONDS_OF, **(hook_seconds or {})}

    async def publish_notice(self, notice: Mapping[str, Any]) -> None:
        file = self._notice_file
        if file is None:
            return
        if await _on_disk(lambda: file.write(notice), "notice_file.write_failed", file.path) is not None:
            log.info("notice_file.written", path=str(file.path))

    async def withdraw_notice(self) -> None:
        file = self._notice_file
        if file is None:
            return
        removed = await _on_disk(file.remove, "notice_file.removal_failed", file.path)
        if removed is not None and removed[0] is False:
            log.warning("notice_file.left_alone", path=str(file.path), reason="its content is not what spotguard wrote")

    def limit_seconds(self, event: str) -> float:
        """How long the hook of this event may take."""
        return self._limits.get(event, HOOK_SECONDS)

    async def run_hook(self, event: str, payload: Mapping[str, Any]) -> None:
        command = self._hooks.get(event)
        if command is None:
            return
        limit = self.limit_seconds(event)
        began = asyncio.get_running_loop().time()
        try:
            end = await run_hook(command, event, payload, limit)
        except (OSError, ValueError) as error:  # ValueError: a null byte in an argument
            log.warning("hook.start_failed", hook=event, command=command[0], error=str(error))
            return
        seconds = round(asyncio.get_running_loop().time() - began, 3)
        if end.status is None:
            log.warning("hook.timed_out", hook=event, command=command[0], limit_seconds=limit, output=end.output)
        elif end.status != 0:
            log.warning("hook.failed", hook=event, command=command[0], status=end.status, seconds=seconds, output=end.output)
        else:
            log.info("hook.finished", hook=event, command=command[0], seconds=seconds, output=end.output)


async def _on_disk(work: Callable[[], T], event: str, path: Path) -> tuple[T] | None:
    """The answer of `work`, done in a thread; None when it failed, which is logged."""
    try:
        async with asyncio.timeout(_DISK_SECONDS):
            return (await asyncio.to_thread(work),)
    except TimeoutError:
        log.warning(event, path=str(path), error=f"the disk did not answer within {_DISK_SECONDS:g} s")
    except (OSError, ValueError) as error:
        log.warning(event, path=str(path), error=str(error))
    return None
