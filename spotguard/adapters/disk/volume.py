"""The disk under the watch root. Every call that may wait for the disk runs in a thread."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Generic, TypeVar

from spotguard.adapters import heap
from spotguard.adapters.daemon_threads import DaemonThreads
from spotguard.adapters.disk import holding
from spotguard.adapters.disk.exclusion import Exclusion
from spotguard.adapters.disk.filesystem_type import filesystem_type, is_remote
from spotguard.adapters.disk.scanning import Scanner
from spotguard.adapters.disk.structure_probe import StructureProbe
from spotguard.core.checkpoint import FileStat, Tree
from spotguard.core.structure import Finding, Probe
from spotguard.ports import checkpoint_volume as port

T = TypeVar("T")
_READERS = 3
_GIVE_BACK_SECONDS = 5.0
"""After a look: what it and what was done about it has left free, of many files tens of megabytes, is given back to the system then."""


class LocalVolume:
    """Implements `ports.checkpoint_volume.CheckpointVolume`."""

    def __init__(self, root: str | os.PathLike[str], *, exclude: Sequence[str] = (), follow_links: bool = False) -> None:
        """`exclude`: all gitignore patterns that hold. Raises ValueError for one that is none."""
        self._root = os.path.abspath(root)
        self._scanner = Scanner(self._root, Exclusion(exclude), follow_links=follow_links)
        self._probe = StructureProbe(self._root)
        self._scan_thread = DaemonThreads("volume-scan", 1)  # of its own, so that no long checksum delays a scan in a drain
        self._readers = DaemonThreads("volume-read", _READERS)
        self._giving_back: asyncio.Task[None] | None = None
        self._remote_devices: dict[int, bool] = {}

    async def scan(self, folders: Collection[str] | None = None) -> Tree:
        tree = await self._scan_thread.run(lambda: self._scan(folders))
        if self._giving_back is None or self._giving_back.done():
            self._giving_back = asyncio.ensure_future(self._give_back())
        return tree

    async def probe(self, probes: Sequence[Probe]) -> Mapping[Probe, Finding]:
        return await self._readers.run(lambda: {probe: self._probe.answer(probe) for probe in probes})

    async def stat(self, sources: Sequence[str]) -> Mapping[str, FileStat | None]:
        return await self._readers.run(lambda: {source: _stat(self._absolute(source)) for source in sources})

    async def hold(self, source: str, copying: port.Copying = port.Copying.NEVER) -> holding.HeldFile:
        opening = _Opening(self._absolute(source), source, self._root, copying)
        try:
            return await self._readers.run(opening.open)
        except asyncio.CancelledError:
            opening.abandon()
            raise

    async def hold_all(self, sources: Sequence[str]) -> Sequence[holding.HeldFile | None]:
        openings = [_Opening(self._absolute(source), source, self._root, port.Copying.NEVER) for source in sources]
        try:
            return await self._readers.run(lambda: [opening.opened() for opening in openings])
        except asyncio.CancelledError:
            for opening in openings:
                opening.abandon()
            raise

    async def checksum(self, held: port.HeldFile, offset: int = 0, size: int | None = None) -> int:
        def sum_of(fd: int, wanted: Callable[[], bool]) -> int:
            return holding.checksum_of(fd, wanted, offset=offset, size=size)

        return await self._read_apart(_Reading(held.fd, sum_of))

    async def growth(self, held: port.HeldFile, offset: int) -> port.Growth:
        return await self._read_apart(_Reading(held.fd, lambda fd, _: holding.growth_of(fd, offset)))

    async def read(self, source: str, max_bytes: int) -> bytes:
        return await self._readers.run(lambda: holding.read_at_most(self._absolute(source), source, max_bytes))

    async def free_bytes(self) -> int:
        return await self._readers.run(lambda: _free_bytes(self._root))

    def holds_are_safe(self) -> bool:
        try:
            device = os.stat(self._root).st_dev
        except OSError:
            return not is_remote(filesystem_type(self._root))
        if device not in self._remote_devices:
            self._remote_devices[device] = is_remote(filesystem_type(self._root))
        return not self._remote_devices[device]

    def close(self) -> None:
        """Let the threads end after what they are doing; nothing may be asked any more."""
        if self._giving_back is not None and not self._giving_back.done():
            self._giving_back.cancel()
        self._scan_thread.close()
        self._readers.close()

    async def _read_apart(self, reading: _Reading[T]) -> T:
        try:
            return await self._readers.run(reading.read)
        except asyncio.CancelledError:
            reading.abandon()
            raise

    def _scan(self, folders: Collection[str] | None) -> Tree:
        began = time.thread_time()
        tree = self._scanner.scan(folders)
        return replace(tree, cpu_seconds=time.thread_time() - began)

    async def _give_back(self) -> None:
        await asyncio.sleep(_GIVE_BACK_SECONDS)
        await self._readers.run(heap.give_back)

    def _absolute(self, source: str) -> str:
        return os.path.join(self._root, source)


class _Opening:
    """An open in a thread whose caller may be cancelled meanwhile: then nobody would close what it opened."""

    def __init__(self, path: str, source: str, root: str, copying: port.Copying) -> None:
        self._path = path
        self._source = source
        self._root = root
        self._copying = copying
        self._lock = threading.Lock()
        self._held: holding.HeldFile | None = None
        self._abandoned = False

    def open(self) -> holding.HeldFile:
        held = holding.hold(self._path, self._source)
        if self._copying is not port.Copying.NEVER:
            held = holding.hold_apart(held, self._root, self._source, self._copying, lambda: not self._abandoned)
        with self._lock:
            self._held = held
            if self._abandoned:
                held.close()
        return held

    def opened(self) -> holding.HeldFile | None:
        try:
            return self.open()
        except (FileNotFoundError, port.CannotRead):
            return None

    def abandon(self) -> None:
        with self._lock:
            self._abandoned = True
            if self._held is not None:
                self._held.close()


class _Reading(Generic[T]):
    """A look into an open file in a thread, over a descriptor of its own: the caller may let go, or be cancelled, meanwhile."""

    def __init__(self, fd: int, look: Callable[[int, Callable[[], bool]], T]) -> None:
        """`look` gets the descriptor, and may ask whether its answer is still wanted."""
        self._fd = os.dup(fd)
        self._look = look
        self._lock = threading.Lock()
        self._begun = False
        self._abandoned = False

    def read(self) -> T:
        with self._lock:
            self._begun = True
            if self._abandoned:
                raise CancelledError
        try:
            return self._look(self._fd, lambda: not self._abandoned)
        finally:
            os.close(self._fd)

    def abandon(self) -> None:
        with self._lock:
            if not self._begun and not self._abandoned:
                os.close(self._fd)
            self._abandoned = True


def _stat(path: str) -> FileStat | None:
    try:
        return holding.file_stat(os.stat(path))
    except OSError:
        return None


def _free_bytes(path: str) -> int:
    while True:
        try:
            found = os.statvfs(path)
        except FileNotFoundError:
            path = os.path.dirname(path)
        else:
            return found.f_bavail * found.f_frsize
