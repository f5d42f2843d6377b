"""Hints that something changed under a folder, by inotify through watchdog. They may be lost and may be spurious: scans are the truth."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from watchdog.events import FileClosedEvent, FileClosedNoWriteEvent, FileOpenedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from spotguard.adapters.filesystem_type import filesystem_type, is_remote

OnChange = Callable[[str | None, bool], None]
_GATHER_SECONDS = 0.01
_MOST_PATHS = 1000
_STOP_SECONDS = 2.0


@asynccontextmanager
async def change_hints(root: str | os.PathLike[str], on_change: OnChange, on_degraded: Callable[[str], None]) -> AsyncIterator[None]:
    """Call `on_change(path under the root or None for anywhere, closed after writing)` in this event loop while the context lasts.

    Where no hints can be had (watch limits, a remote filesystem) `on_degraded(why, with what to do)` is called once, and nothing else."""
    base = os.fspath(root)
    os.makedirs(base, exist_ok=True)
    kind = filesystem_type(base)
    if is_remote(kind):
        on_degraded(f"{base} is on {kind}, where inotify does not see other hosts: it is scanned instead")
        yield
        return
    relay = _Relay(os.path.realpath(base), on_change, asyncio.get_running_loop())
    observer = Observer()
    observer.daemon = True
    try:
        await asyncio.to_thread(_start, observer, relay, os.path.realpath(base))
    except OSError as error:
        on_degraded(f"inotify: {error.strerror or error}: raise fs.inotify.max_user_watches and max_user_instances; it is scanned instead")
        with suppress(RuntimeError):
            observer.stop()
        yield
        return
    try:
        yield
    finally:
        observer.stop()
        await asyncio.to_thread(observer.join, _STOP_SECONDS)


def _start(observer: Observer, relay: _Relay, base: str) -> None:  # type: ignore[valid-type]
    observer.schedule(relay, base, recursive=True)  # type: ignore[attr-defined]
    observer.start()  # type: ignore[attr-defined]


class _Relay(FileSystemEventHandler):
    """Gathers events in watchdog's thread and hands them to the loop a few times a second at most, however many there are."""

    def __init__(self, base: str, on_change: OnChange, loop: asyncio.AbstractEventLoop) -> None:
        self._base = base
        self._on_change = on_change
        self._loop = loop
        self._lock = threading.Lock()
        self._gathered: dict[str, bool] = {}
        self._on_its_way = False

    def on_any_event(self, event: FileSystemEvent) -> None:
        if isinstance(event, FileOpenedEvent | FileClosedNoWriteEvent):
            return
        closed = isinstance(event, FileClosedEvent)
        with self._lock:
            for path in (event.src_path, event.dest_path):
                if path:
                    relative = os.path.relpath(os.fsdecode(path), self._base)
                    self._gathered[relative] = closed or self._gathered.get(relative, False)
            if self._on_its_way:
                return
            self._on_its_way = True
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._loop.call_later, _GATHER_SECONDS, self._hand_over)

    def _hand_over(self) -> None:
        with self._lock:
            gathered, self._gathered = self._gathered, {}
            self._on_its_way = False
        if len(gathered) > _MOST_PATHS or "." in gathered or any(path.startswith("..") for path in gathered):
            self._on_change(None, False)
            return
        for path, closed in gathered.items():
            self._on_change(path, closed)
