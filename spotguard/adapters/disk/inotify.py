"""Hints that something changed under the watch root, by inotify through watchdog. Losing one costs time, never a checkpoint."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from watchdog import events
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from spotguard.adapters.disk import inotify_limits
from spotguard.adapters.disk.filesystem_type import filesystem_type, is_remote
from spotguard.adapters.disk.hint_queue import HintQueue, OnChange

_CHECK_SECONDS = 5.0
_STOP_SECONDS = 2.0

_WANTED: list[type[events.FileSystemEvent]] = [
    events.FileCreatedEvent,
    events.FileDeletedEvent,
    events.FileMovedEvent,
    events.FileClosedEvent,
    events.DirCreatedEvent,
    events.DirDeletedEvent,
    events.DirMovedEvent,
]
"""Without `modified`, which comes with each write() of a trainer and says nothing that the close does not."""


@contextlib.asynccontextmanager
async def change_hints(
    root: str | os.PathLike[str],
    on_change: OnChange,
    on_degraded: Callable[[str], None],
    *,
    check_seconds: float = _CHECK_SECONDS,
) -> AsyncIterator[None]:
    """While it is open, `on_change(path, closed_after_writing)` is called in the event loop, a few milliseconds after a change.

    `path` is relative to the root; None when anything may have changed (it begins to watch, a flood, a root that came back). A root that
    is not there is made. What cannot be watched is told by `on_degraded(reason with its fix)`, once per reason: then there are fewer
    hints, or none, and nothing is raised. A root that is removed, or replaced by another, is watched again within `check_seconds` of its
    return. On leaving, also when cancelled, no call comes any more and its threads have ended.
    """
    hints = HintQueue(asyncio.get_running_loop(), on_change)
    watch = _RootWatch(root, hints, on_degraded)
    await asyncio.to_thread(watch.make_root)
    try:
        await watch.begin()
        keeper = asyncio.create_task(watch.keep(check_seconds), name="inotify-keeper")
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
    finally:
        hints.close()
        await watch.end()


class _Watched(NamedTuple):
    """What came of trying to watch the root."""

    observer: BaseObserver | None = None
    identity: tuple[int, int] | None = None
    """Device and inode of the root; None when it is not there."""
    reason: str | None = None
    """Why not, or not fully."""


class _RootWatch(events.FileSystemEventHandler):
    """The observer of one root, and its successors when the root is replaced."""

    def __init__(self, root: str | os.PathLike[str], hints: HintQueue, on_degraded: Callable[[str], None]) -> None:
        self._root = os.path.abspath(root)
        self._prefix = self._root.rstrip("/") + "/"
        self._hints = hints
        self._on_degraded = on_degraded
        self._told: set[str] = set()
        self._watched = _Watched()
        self._folders_appeared = False

    def make_root(self) -> None:
        with contextlib.suppress(OSError):  # the scan says so, with the reason
            os.makedirs(self._root, exist_ok=True)

    def dispatch(self, event: events.FileSystemEvent) -> None:
        """In the observer's thread."""
        finished = event.event_type in (events.EVENT_TYPE_CLOSED, events.EVENT_TYPE_MOVED)
        self._folders_appeared = self._folders_appeared or (event.is_directory and event.event_type != events.EVENT_TYPE_DELETED)
        for path in (event.src_path, event.dest_path):
            text = os.fsdecode(path)
            if text == self._root:
                self._hints.put(None, finished)
            elif text.startswith(self._prefix):
                self._hints.put(text[len(self._prefix) :], finished)

    async def begin(self) -> None:
        """Watch the root if it is there and can be."""
        starting = asyncio.ensure_future(asyncio.to_thread(_started, self._root, self))
        try:
            self._watched = await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._watched = await starting  # its threads must not outlive us
            raise
        if (reason := self._watched.reason) and reason not in self._told:
            self._told.add(reason)
            self._on_degraded(reason)
        if self._watched.observer is not None:
            self._hints.put(None, False)  # a scan that began before the watches were set may have missed what they did not see

    async def keep(self, check_seconds: float) -> None:
        """Notice a root that was replaced, and folders that got no watch."""
        while True:
            await asyncio.sleep(check_seconds)
            if await asyncio.to_thread(_identity, self._root) != self._watched.identity:
                await self.end()
                await self.begin()
            elif self._folders_appeared and self._watched.observer is not None:
                self._folders_appeared = False
                if (reason := await asyncio.to_thread(inotify_limits.refusal, self._root)) and reason not in self._told:
                    self._told.add(reason)
                    self._on_degraded(reason)

    async def end(self) -> None:
        """Stop watching; its threads are gone on return, unless one hangs for 2 s."""
        observer, self._watched = self._watched.observer, _Watched()
        if observer is not None:
            await asyncio.shield(asyncio.to_thread(_stop, observer))


def _started(root: str, handler: events.FileSystemEventHandler) -> _Watched:
    """Blocks: each folder below the root gets a watch."""
    identity = _identity(root)
    if identity is None:
        return _Watched()
    kind = filesystem_type(root)
    if is_remote(kind):
        reason = f"{root} lies on {kind}, where inotify does not see what other hosts write: use a local disk, or a short rescan_seconds"
        return _Watched(identity=identity, reason=reason)
    if refused := inotify_limits.refusal(root):
        return _Watched(identity=identity, reason=refused)
    observer: BaseObserver | None = None
    try:
        observer = Observer()
        observer.daemon = True
        observer.schedule(handler, root, recursive=True, event_filter=_WANTED)
        observer.start()
    except OSError as error:
        if observer is not None:
            _stop(observer)
        return _Watched(identity=identity, reason=inotify_limits.told(error))
    return _Watched(observer, identity, inotify_limits.refusal(root))  # a folder below may have got the last watch there was


def _stop(observer: BaseObserver) -> None:
    observer.stop()
    if observer.ident is not None:
        observer.join(_STOP_SECONDS)


def _identity(root: str) -> tuple[int, int] | None:
    try:
        found = os.stat(root)
    except OSError:
        return None
    return found.st_dev, found.st_ino
