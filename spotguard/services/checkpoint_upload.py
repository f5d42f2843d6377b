"""Gets the files of one checkpoint into the bucket, each content once, and remembers what lies where.

A file's content is identified by its stat. What changes while it is being sent is sent again under the next unused `@n`; nothing is
ever overwritten. Files are held open while they wait, so that what the trainer rotates away is still sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spotguard.core.checkpoint import FileStat, LocalFile
from spotguard.core.run_keys import CHECKPOINT_METADATA, RUN_METADATA, RunKeys
from spotguard.ports.checkpoint_volume import CannotRead, CheckpointVolume, HeldFile
from spotguard.ports.clock import Clock
from spotguard.ports.object_store import ConcurrentWrite, ObjectExists, ObjectMissing, ObjectStore, StoredObject
from spotguard.ports.part_transfer import FileShrank
from spotguard.services.part_engine import ChangedWhileSending, Errand, PartEngine, first_of
from spotguard.services.part_slots import Rank

REUSE_SECONDS = 3 * 24 * 3600.0
"""A commit reuses no object older than this; the janitor takes none younger than 7 days (DESIGN.md section 3)."""
_FILES_AT_ONCE = 8


class FileVanished(Exception):
    """A file was gone before it could be opened."""


@dataclass(frozen=True, slots=True)
class SentFile:
    """A content of a file that is in the bucket, whole."""

    stat: FileStat
    key: str
    """Absolute in the bucket."""
    etag: str
    crc64nvme: int


@dataclass(frozen=True, slots=True)
class UploadTools:
    """What every checkpoint's upload needs."""

    store: ObjectStore
    engine: PartEngine
    volume: CheckpointVolume
    keys: RunKeys
    clock: Clock
    is_condemned: Callable[[str], bool] = lambda key: False
    """Whether the janitor may be deleting this key right now: neither reused nor written."""


def same_content(now: FileStat, then: FileStat) -> bool:
    """Whether two stats are of one content. Permission bits are no content; ctime is, because mtime can be set back."""
    return now[:5] == then[:5]


class CheckpointUpload:
    def __init__(self, tools: UploadTools, name: str, *, is_directory: bool, rank: Rank) -> None:
        self.name = name
        self.sent: dict[str, SentFile] = {}
        self._tools = tools
        self._is_directory = is_directory
        self._rank = rank
        self._held: dict[str, HeldFile] = {}
        self._gone: dict[LocalFile, int] = {}
        """Of files that are not sent whole: bytes that are on their way, or lie in the bucket as parts."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._remote: dict[str, dict[str, StoredObject]] = {}
        """What lies in the bucket, by place (see `RunKeys.place`)."""
        self._tried: set[str] = set()
        self.bytes_sent = 0
        """Bytes that went over the wire for this name; a reused object counts nothing."""
        self.bytes_reused = 0

    @property
    def holds(self) -> bool:
        """Whether files are held open."""
        return bool(self._held)

    def uploaded_bytes(self, files: Sequence[LocalFile]) -> int:
        """How much of these contents is in the bucket or has gone, for display."""
        return sum(file.stat.size if self._is_sent(file) else self._gone.get(file, 0) for file in files)

    def bytes_left(self, files: Sequence[LocalFile]) -> int:
        return sum(max(0, file.stat.size - self._gone.get(file, 0)) for file in files if not self._is_sent(file))

    def secures(self, files: Sequence[LocalFile]) -> bool:
        """Whether each of these contents is sent or held open."""
        return all(self._is_sent(file) or self._is_held(file) for file in files)

    def has(self, file: LocalFile) -> bool:
        """Whether this very content is in the bucket."""
        return self._is_sent(file)

    async def hold(self, files: Sequence[LocalFile], limit: int) -> None:
        """Open the files that are not sent yet, the largest first, at most `limit`. One that is gone or unreadable is left out."""
        unsent = sorted((file for file in files if not self._is_sent(file)), key=lambda file: -file.stat.size)
        for file in unsent[:limit]:
            try:
                await self._hold(file)
            except (FileVanished, ChangedWhileSending, CannotRead):
                continue  # sending it meets the same and says so

    async def send(self, files: Sequence[LocalFile]) -> None:
        """Send what of these files is not in the bucket yet, the largest first.

        Raises FileVanished, ChangedWhileSending, FileShrank, CannotRead or a StoreError; what was sent before stays known."""
        waiting = iter(sorted((file for file in files if not self._is_sent(file)), key=lambda file: -file.stat.size))

        async def worker() -> None:
            for file in waiting:
                async with self._locks.setdefault(file.path, asyncio.Lock()):
                    if not self._is_sent(file):
                        await self._send_file(file)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_FILES_AT_ONCE):
                    group.create_task(worker())
        except BaseExceptionGroup as failures:
            raise first_of(failures) from failures

    def doubt(self, paths: Sequence[str]) -> None:
        """Forget that these were sent: the bucket says otherwise."""
        self._remote = {}
        for path in paths:
            self.sent.pop(path, None)

    def let_go(self) -> None:
        """Close all files that are held open."""
        for held in self._held.values():
            held.close()
        self._held.clear()

    async def give_up(self) -> None:
        """Close the files and throw unfinished multipart uploads away. What was sent whole stays for the janitor."""
        self.let_go()
        self._gone.clear()
        tried, self._tried = self._tried, set()
        for key in tried:
            await self._tools.engine.forget(key)

    def rest(self) -> None:
        """It is committed: keep what lies where, for the next generation, and nothing else."""
        self.let_go()
        self._remote = {}
        self._gone.clear()
        self._tried.clear()
        self._locks.clear()

    def _is_sent(self, file: LocalFile) -> bool:
        sent = self.sent.get(file.path)
        return sent is not None and same_content(sent.stat, file.stat)

    def _is_held(self, file: LocalFile) -> bool:
        held = self._held.get(file.path)
        return held is not None and same_content(held.stat, file.stat) and held.unchanged()

    def _key(self, path: str, version: int) -> str:
        return self._tools.keys.data(self.name, path, is_directory=self._is_directory, version=version)

    async def _hold(self, file: LocalFile) -> HeldFile:
        held = self._held.get(file.path)
        if held is not None and same_content(held.stat, file.stat):
            return held
        if held is not None:
            held.close()
            del self._held[file.path]
        try:
            fresh = await self._tools.volume.hold(file.source)
        except FileNotFoundError as error:
            raise FileVanished(file.source) from error
        if not same_content(fresh.stat, file.stat):
            fresh.close()
            raise ChangedWhileSending(file.source)
        self._held[file.path] = fresh
        return fresh

    async def _send_file(self, file: LocalFile) -> None:
        held = await self._hold(file)
        self.sent[file.path] = await self._place(file, held)
        self._gone.pop(file, None)
        held.close()
        self._held.pop(file.path, None)

    async def _place(self, file: LocalFile, held: HeldFile) -> SentFile:
        version = 1
        checksum: int | None = None
        while True:
            key = self._key(file.path, version)
            if self._tools.is_condemned(key):
                version += 1
                continue
            known = (await self._remote_objects(file.path)).get(key)
            if known is not None:
                if known.size == file.stat.size:
                    checksum = await self._tools.volume.checksum(held) if checksum is None else checksum
                    if not held.unchanged():
                        raise ChangedWhileSending(file.source)
                    if found := await self._reusable(known, checksum):
                        self.bytes_reused += file.stat.size
                        return SentFile(held.stat, key, found, checksum)
                version += 1
                continue
            try:
                return await self._transfer(file, held, key)
            except ObjectExists:
                self._remote = {}  # taken meanwhile, or our own answer that was lost: look again
            except ConcurrentWrite:
                version += 1

    async def _transfer(self, file: LocalFile, held: HeldFile, key: str) -> SentFile:
        def count(size: int) -> None:
            self.bytes_sent += size
            self._gone[file] = max(0, self._gone.get(file, 0) + size)

        self._tried.add(key)
        errand = Errand(held, file.stat.size, key, self._tools.keys.metadata(self.name), self._rank)
        self._gone[file] = self._tools.engine.kept(errand)
        try:
            sent = await self._tools.engine.send(errand, count)
        except FileShrank as error:
            raise ChangedWhileSending(file.source) from error
        finally:
            self._gone[file] = self._tools.engine.kept(errand)
        return SentFile(held.stat, key, sent.etag, sent.crc64nvme)

    async def _reusable(self, known: StoredObject, checksum: int) -> str | None:
        """The ETag of an object that holds exactly our bytes, is ours and is young enough; else None."""
        try:
            facts = await self._tools.store.head(known.key)
        except ObjectMissing:
            self._remote = {}
            return None
        ours = self._tools.keys.metadata(self.name)
        if not _carries(facts.metadata, ours) or facts.size != known.size:
            return None
        if facts.crc64nvme != checksum or self._store_now() - facts.modified > REUSE_SECONDS:
            return None
        return facts.etag

    def _store_now(self) -> float:
        return self._tools.clock.wall().timestamp() + (self._tools.store.clock_offset() or 0.0)

    async def _remote_objects(self, path: str) -> Mapping[str, StoredObject]:
        place = self._tools.keys.place(self.name, path, is_directory=self._is_directory)
        if place not in self._remote:
            self._remote[place] = {stored.key: stored for stored in await self._tools.store.list(place)}
        return self._remote[place]


def _carries(metadata: Mapping[str, str], ours: Mapping[str, str]) -> bool:
    return all(metadata.get(name) == ours[name] for name in (RUN_METADATA, CHECKPOINT_METADATA))
