"""A CheckpointVolume in memory: the trainer's side (write, delete, rename, link) and the port's, on one given clock.

`hold` gives a real file descriptor, so that whatever sends bytes can read it, and it survives deletion as on a disk. Writing over
a path keeps its inode, as `open(path, "wb")` does, so a held file sees the new bytes.
"""

from __future__ import annotations

import asyncio
import json
import os
import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from awscrt.checksums import crc64nvme

from spotguard.core.checkpoint import FileStat, LocalLink, Tree
from spotguard.core.structure import Finding, Probe, Structure
from spotguard.ports.checkpoint_volume import CannotRead, Copying, Growth
from spotguard.ports.clock import Clock

_DEVICE = 1


@dataclass(eq=False)
class _Inode:
    number: int
    data: bytes
    mtime_ns: int
    ctime_ns: int
    mode: int
    fds: set[int] = field(default_factory=set)
    holes: tuple[tuple[int, int], ...] = ()
    """From where to where nothing was written yet."""

    @property
    def stat(self) -> FileStat:
        return FileStat(len(self.data), self.mtime_ns, self.ctime_ns, _DEVICE, self.number, self.mode)


class MemoryHeldFile:
    def __init__(self, inode: _Inode, *, private: bool = False) -> None:
        self._inode = inode
        self.private = private
        self._stat = inode.stat
        self._fd = os.memfd_create("held", os.MFD_CLOEXEC)
        if not private:
            inode.fds.add(self._fd)
        _fill(self._fd, inode.data)
        self._open = True

    @property
    def fd(self) -> int:
        return self._fd

    @property
    def stat(self) -> FileStat:
        return self._stat

    def unchanged(self) -> bool:
        if self.private:
            return self._open
        now = self._inode.stat
        return (now.size, now.mtime_ns) == (self._stat.size, self._stat.mtime_ns)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._inode.fds.discard(self._fd)
            os.close(self._fd)


def _fill(fd: int, content: bytes) -> None:
    os.ftruncate(fd, 0)
    offset = 0
    while offset < len(content):
        offset += os.pwrite(fd, content[offset : offset + (1 << 24)], offset)


class MemoryVolume:
    """`wall_ns` comes from `clock`; without one, each write is a second after the one before."""

    def __init__(self, clock: Clock | None = None, *, on_nfs: bool = False, free: int = 1 << 40, latency_seconds: float = 0.0) -> None:
        self.clock = clock
        self.on_nfs = on_nfs
        self.free = free
        self.latency_seconds = latency_seconds
        self.shares_blocks = False
        """Whether the filesystem can copy by sharing blocks."""
        self.findings: dict[str, Finding] = {}
        """By source: overrides what `probe` says."""
        self.unreadable: dict[str, str] = {}
        """Paths that are listed as unreadable by `scan` and raise CannotRead when opened."""
        self.special: set[str] = set()
        self.excluded: set[str] = set()
        self.scans: list[tuple[str, ...] | None] = []
        """The argument of each scan so far."""
        self.held: list[MemoryHeldFile] = []
        self.summed_bytes = 0
        """How much was read for nothing but its checksum."""
        self._files: dict[str, _Inode] = {}
        self._folders: dict[str, FileStat] = {}
        self._links: dict[str, str] = {}
        self._numbers = 1
        self._ticks = 1_700_000_000

    # the trainer's side

    def write(self, path: str, content: bytes, *, mtime_ns: int | None = None, mode: int = 0o644, replace: bool = False) -> FileStat:
        """Create or overwrite in place (`replace`: by a new inode, as a rename does)."""
        now = self._now_ns()
        self._links.pop(path, None)
        self._make_parents(path, now)
        inode = self._files.get(path)
        if inode is None or replace:
            self._numbers += 1
            inode = self._files[path] = _Inode(self._numbers, content, mtime_ns or now, now, mode)
            self._touch_parent(path, now)
        else:
            inode.data, inode.mtime_ns, inode.ctime_ns, inode.mode = content, mtime_ns or now, now, mode
            inode.holes = ()
            for fd in inode.fds:
                _fill(fd, content)
        return inode.stat

    def dig(self, path: str, *holes: tuple[int, int]) -> None:
        """These stretches (from, to) of the file are holes, as where space was reserved and not written yet."""
        self._files[path].holes = holes

    def rewrite_unseen(self, path: str, content: bytes) -> None:
        """Overwrite in place with as many bytes, within the tick of the last write: no stat tells it."""
        inode = self._files[path]
        assert len(content) == len(inode.data)
        inode.data = content
        for fd in inode.fds:
            _fill(fd, content)

    def mkdir(self, path: str) -> None:
        now = self._now_ns()
        self._make_parents(path + "/x", now)

    def link(self, path: str, target: str) -> None:
        now = self._now_ns()
        self._make_parents(path, now)
        self._links[path] = target
        self._touch_parent(path, now)

    def delete(self, path: str) -> None:
        """Remove a file, a link, or a folder with all that is in it. Raises FileNotFoundError."""
        doomed = [p for p in (*self._files, *self._folders, *self._links) if p == path or p.startswith(path + "/")]
        if not doomed:
            raise FileNotFoundError(path)
        for each in doomed:
            self._files.pop(each, None)
            self._folders.pop(each, None)
            self._links.pop(each, None)
        self._touch_parent(path, self._now_ns())

    def rename(self, old: str, new: str) -> None:
        """Move a file or folder; what is at `new` is replaced. Raises FileNotFoundError."""
        tables: tuple[dict[str, Any], ...] = (self._files, self._folders, self._links)
        if not any(old in table for table in tables):
            raise FileNotFoundError(old)
        now = self._now_ns()
        self._make_parents(new, now)
        for table in tables:
            for path in [p for p in table if p == old or p.startswith(old + "/")]:
                table[new + path.removeprefix(old)] = table.pop(path)
        if new in self._files:
            self._files[new].ctime_ns = now
        self._touch_parent(old, now)
        self._touch_parent(new, now)

    def content(self, path: str) -> bytes:
        return self._inode(path).data

    def paths(self) -> list[str]:
        return sorted(self._files)

    @property
    def open_count(self) -> int:
        """Held files that nobody closed yet."""
        return sum(held._open for held in self.held)

    # the port's side

    async def scan(self, folders: Collection[str] | None = None) -> Tree:
        await asyncio.sleep(self.latency_seconds)
        self.scans.append(None if folders is None else tuple(folders))
        hidden = self.special | self.excluded | set(self.unreadable)
        return Tree(
            files={path: inode.stat for path, inode in sorted(self._files.items()) if path not in hidden},
            folders=dict(sorted(self._folders.items())),
            links={path: self._resolved(path, target) for path, target in sorted(self._links.items()) if path not in hidden},
            excluded=frozenset(self.excluded),
            unreadable=dict(self.unreadable),
            special=frozenset(self.special),
        )

    async def probe(self, probes: Sequence[Probe]) -> Mapping[Probe, Finding]:
        await asyncio.sleep(self.latency_seconds)
        return {probe: self._finding(probe) for probe in probes}

    async def stat(self, sources: Sequence[str]) -> Mapping[str, FileStat | None]:
        await asyncio.sleep(self.latency_seconds)
        return {source: self._files[source].stat if source in self._files else None for source in sources}

    async def hold(self, source: str, copying: Copying = Copying.NEVER) -> MemoryHeldFile:
        await asyncio.sleep(self.latency_seconds)
        if source in self.unreadable or source in self.special or source in self._folders:
            raise CannotRead(f"{source}: {self.unreadable.get(source, 'not a regular file')}")
        inode = self._inode(source)
        room = self.free >= 2 * len(inode.data)
        private = copying is not Copying.NEVER and (self.shares_blocks or (copying is Copying.ALWAYS and room))
        held = MemoryHeldFile(inode, private=private)
        self.held.append(held)
        return held

    async def hold_all(self, sources: Sequence[str]) -> Sequence[MemoryHeldFile | None]:
        held: list[MemoryHeldFile | None] = []
        for source in sources:
            try:
                held.append(await self.hold(source))
            except (FileNotFoundError, CannotRead):
                held.append(None)
        return held

    async def checksum(self, held: Any, offset: int = 0, size: int | None = None) -> int:
        await asyncio.sleep(self.latency_seconds)
        content = os.pread(held.fd, os.fstat(held.fd).st_size if size is None else size, offset)
        self.summed_bytes += len(content)
        return int(crc64nvme(content))

    async def growth(self, held: Any, offset: int) -> Growth:
        await asyncio.sleep(self.latency_seconds)
        inode = held._inode
        holes = [start for start, end in inode.holes if end > offset]
        filled = min([max(offset, start) for start in holes], default=len(inode.data))
        return Growth(len(inode.data), filled, inode in self._files.values())

    async def read(self, source: str, max_bytes: int) -> bytes:
        await asyncio.sleep(self.latency_seconds)
        if source in self.unreadable:
            raise CannotRead(f"{source}: {self.unreadable[source]}")
        return self._inode(source).data[: max_bytes + 1]

    async def free_bytes(self) -> int:
        return self.free

    def holds_are_safe(self) -> bool:
        return not self.on_nfs

    def close(self) -> None:
        """Close what was left open, so that a test leaks nothing."""
        for held in self.held:
            held.close()

    # inside

    def _now_ns(self) -> int:
        if self.clock is not None:
            return int(self.clock.wall().timestamp() * 1_000_000) * 1_000
        self._ticks += 1
        return self._ticks * 1_000_000_000

    def _inode(self, path: str) -> _Inode:
        try:
            return self._files[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    def _folder_stat(self, now: int) -> FileStat:
        self._numbers += 1
        return FileStat(4096, now, now, _DEVICE, self._numbers, 0o755)

    def _make_parents(self, path: str, now: int) -> None:
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            if folder not in self._folders:
                self._folders[folder] = self._folder_stat(now)
                self._touch_parent(folder, now)

    def _touch_parent(self, path: str, now: int) -> None:
        parent = path.rpartition("/")[0]
        if parent in self._folders:
            self._folders[parent] = self._folders[parent]._replace(mtime_ns=now, ctime_ns=now)

    def _resolved(self, path: str, target: str) -> LocalLink:
        seen = {path}
        current = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        while current in self._links and current not in seen:
            seen.add(current)
            current = posixpath.normpath(posixpath.join(posixpath.dirname(current), self._links[current]))
        if current in self._folders or current == ".":
            return LocalLink(target, current if current != "." else "", True)
        return LocalLink(target, current if current in self._files else None, False)

    def _finding(self, probe: Probe) -> Finding:
        if probe.source in self.findings:
            return self.findings[probe.source]
        inode = self._files.get(probe.source)
        if inode is None:
            return Finding(False, f"{probe.source} is gone")
        if probe.structure is not Structure.ANY and not inode.data:
            return Finding(False, f"{probe.source} is empty")
        if probe.structure is Structure.TEXT:
            return Finding(True, document={"text": inode.data.decode()})
        if probe.structure is not Structure.JSON:
            return Finding(True, ended=inode.data.startswith(b"PK") and b"PK\x05\x06" in inode.data[-22:])
        try:
            document = json.loads(inode.data)
        except ValueError:
            return Finding(False, f"{probe.source} does not parse")
        return Finding(True, document=document if isinstance(document, dict) else {})
