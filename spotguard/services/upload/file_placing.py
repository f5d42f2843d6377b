"""Finds the object for one file's content: one that lies at its key already, a copy of an earlier checkpoint's, or what is sent now.

Nothing is ever overwritten: a key that holds anything else is passed over for the next `@n`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from spotguard.core.checkpoint import FileStat, LocalFile
from spotguard.core.manifest import Manifest
from spotguard.core.quiet import seconds_until_telling
from spotguard.core.reuse import LEAST_BYTES, KnownFiles
from spotguard.core.run_keys import CHECKPOINT_METADATA, RUN_METADATA, RunKeys
from spotguard.ports.checkpoint_volume import CheckpointVolume, HeldFile
from spotguard.ports.clock import Clock, wall_ns
from spotguard.ports.object_store import ConcurrentWrite, ObjectExists, ObjectMissing, ObjectStore, StoredObject
from spotguard.ports.offload import Offload
from spotguard.ports.part_transfer import FileShrank
from spotguard.services.upload.content_sums import ContentSums
from spotguard.services.upload.errand import ChangedWhileSending, Errand, Placed
from spotguard.services.upload.growing_file import Ending, GrowingFile
from spotguard.services.upload.part_engine import PartEngine
from spotguard.services.upload.part_slots import Rank
from spotguard.services.upload.reuse import Duplicate, differs_at_first, find_duplicate
from spotguard.services.upload.small_files import SmallFiles
from spotguard.services.upload.upload_tally import UploadTally

REUSE_SECONDS = 3 * 24 * 3600.0
"""A commit reuses no object older than this; the janitor takes none younger than 7 days (docs/architecture.md)."""
_CLOCK_SLACK_SECONDS = 5.0


async def nothing_known(name: str) -> Sequence[Manifest]:
    return ()


@dataclass(frozen=True, slots=True)
class UploadTools:
    """What every checkpoint's upload needs."""

    store: ObjectStore
    engine: PartEngine
    volume: CheckpointVolume
    keys: RunKeys
    clock: Clock
    small: SmallFiles
    offload: Offload
    is_condemned: Callable[[str], bool] = lambda key: False
    """Whether the janitor may be deleting this key right now: neither reused nor written."""
    earlier: Callable[[str], Awaitable[Sequence[Manifest]]] = nothing_known
    """Committed checkpoints that may have files in common with the one of this name, the likeliest first."""

    async def until_telling(self, *stats: FileStat) -> None:
        """Return when files of these stats may be read: what is written to them from now on shows in their stats."""
        now_ns = wall_ns(self.clock)
        await asyncio.sleep(max(seconds_until_telling(stat, wall_ns=now_ns) for stat in stats))


@dataclass(frozen=True, slots=True)
class SentFile:
    """A content of a file that is in the bucket, whole."""

    stat: FileStat
    key: str
    """Absolute in the bucket."""
    etag: str
    crc64nvme: int
    first_part: tuple[int, int] | None = None
    """Size and CRC64NVME of the first part of several."""


class FilePlacing:
    """The files of one checkpoint."""

    def __init__(self, tools: UploadTools, name: str, tally: UploadTally, *, is_directory: bool, rank: Rank) -> None:
        self._tools = tools
        self._name = name
        self._tally = tally
        self._is_directory = is_directory
        self._rank = rank
        self._remote: dict[str, dict[str, StoredObject]] = {}
        """What lies in the bucket, by place (see `RunKeys.place`)."""
        self._listing = asyncio.Lock()
        self._known: KnownFiles | None = None
        self._sums: dict[LocalFile, dict[tuple[int, int], int]] = {}
        self._compared: dict[LocalFile, Duplicate | None] = {}
        self._tried: set[str] = set()

    def is_duplicate(self, file: LocalFile) -> bool:
        """Whether it is known that this content need not be sent, because an earlier checkpoint has it."""
        duplicate = self._compared.get(file)
        return duplicate is not None and duplicate.usable

    def look_again(self) -> None:
        """Forget what the bucket held."""
        self._remote = {}

    def rest(self) -> set[str]:
        """Forget all of it; returns the keys that were written to."""
        self._remote, self._known = {}, None
        self._sums.clear()
        self._compared.clear()
        tried, self._tried = self._tried, set()
        return tried

    async def place(self, file: LocalFile, held: HeldFile) -> SentFile:
        """Where this content lies in the bucket. Raises ChangedWhileSending, OSError, StoreError."""
        sums = ContentSums(self._tools.volume, held, self._tools.engine.combine, self._sums.setdefault(file, {}))
        version = 1
        while True:
            key = self._key(file.path, version)
            if self._tools.is_condemned(key):
                version += 1
                continue
            known = (await self._remote_objects(file.path)).get(key)
            if known is not None:
                if (found := await self._reused(known, file, held, sums)) is not None:
                    return found
                version += 1
                continue
            duplicate = await self._duplicate(file, held, sums)
            try:
                placed = await self._transfer(file, held, key, duplicate, sums)
            except ObjectExists:
                self._remote = {}  # taken meanwhile, or our own answer that was lost: look again
            except ConcurrentWrite:
                version += 1
            else:
                if await self._is_young(placed):
                    return SentFile(held.stat, key, placed.etag, placed.crc64nvme, placed.first_part)
                version += 1

    async def send_ahead(self, file: LocalFile, held: HeldFile, rank: Rank) -> Ending:
        """Send parts of a file that is still being written to where `place` will look for it first. As `GrowingFile.send`."""
        remote = await self._remote_objects(file.path)
        version = 1
        while self._tools.is_condemned(key := self._key(file.path, version)) or key in remote:
            version += 1
        self._tried.add(key)
        known = KnownFiles(await self._tools.earlier(self._name))  # not kept: more may be committed until the file is whole
        step = self._tools.engine.step(known.size_like(self._tools.keys.relative(key)))
        growing = GrowingFile(self._tools.engine, self._tools.volume, held, key, rank, lambda size: self._tally.went_ahead(file.path, size))
        ending = await growing.send(self._tools.keys.metadata(self._name), step, known)
        if ending.is_in_vain:
            self._tally.given_up(file.path)
        return ending

    async def place_small(self, row: Mapping[LocalFile, HeldFile]) -> Mapping[LocalFile, SentFile]:
        """Send these small files together. Those that are not in the answer want `place`: one of them was there already, or failed."""
        errands: dict[LocalFile, Errand] = {}
        metadata = self._tools.keys.metadata(self._name)
        for file, held in row.items():
            key = self._key(file.path, 1)
            if not self._tools.is_condemned(key) and key not in await self._remote_objects(file.path):
                self._tried.add(key)
                errands[file] = Errand(held, file.stat.size, key, metadata, self._rank)
        if not errands:
            return {}
        placed: dict[LocalFile, SentFile] = {}
        for (file, errand), sent in zip(errands.items(), await self._tools.small.send(list(errands.values())), strict=True):
            if sent is not None:
                self._tally.went(file, sent.size)
                placed[file] = SentFile(errand.held.stat, sent.key, sent.etag, sent.crc64nvme)
        return placed

    async def _transfer(self, file: LocalFile, held: HeldFile, key: str, duplicate: Duplicate | None, sums: ContentSums) -> Placed:
        self._tried.add(key)
        errand = Errand(
            held,
            file.stat.size,
            key,
            self._tools.keys.metadata(self._name),
            self._rank,
            duplicate=duplicate,
            sums=sums,
            found=lambda size: self._tally.found(file, size),
            judged=lambda size, right: self._tally.judged(file, size, right),
        )
        self._tally.lies(file, self._tools.engine.kept(errand))
        try:
            return await self._tools.engine.send(errand, lambda size: self._tally.went(file, size))
        except FileShrank as error:
            raise ChangedWhileSending(file.source) from error
        finally:
            self._tally.lies(file, self._tools.engine.kept(errand))

    async def _duplicate(self, file: LocalFile, held: HeldFile, sums: ContentSums) -> Duplicate | None:
        """Compared once: what was found out of a content holds as long as it is that content."""
        if file.stat.size < LEAST_BYTES:
            return None
        if file not in self._compared:
            known = await self._known_files()
            found = await find_duplicate(file.stat.size, sums, known, step=self._tools.engine.step(file.stat.size))
            if not held.unchanged():
                raise ChangedWhileSending(file.source)
            self._compared[file] = found
        return self._compared[file]

    async def _reused(self, known: StoredObject, file: LocalFile, held: HeldFile, sums: ContentSums) -> SentFile | None:
        """The object at the key, if it holds exactly our bytes, is ours and is young enough."""
        if known.size != file.stat.size or known.modified < self._written_at(file) - _CLOCK_SLACK_SECONDS:
            return None  # an object that is older than the file is an earlier content of it, nearly always: not worth reading it all
        if await differs_at_first(self._tools.keys.relative(known.key), sums, await self._known_files()):
            return None
        try:
            facts = await self._tools.store.head(known.key)
        except ObjectMissing:
            self._remote = {}
            return None
        if not _carries(facts.metadata, self._tools.keys.metadata(self._name)) or facts.size != known.size:
            return None
        if facts.crc64nvme is None or self._store_now() - facts.modified > REUSE_SECONDS:
            return None
        checksum = await sums.whole(self._tools.engine.step(file.stat.size))
        if not held.unchanged():
            raise ChangedWhileSending(file.source)
        if facts.crc64nvme != checksum:
            return None
        self._tally.found(file, file.stat.size)
        step = self._tools.engine.step(file.stat.size)
        first = (step, await sums.of(0, step)) if step < file.stat.size else None
        return SentFile(held.stat, known.key, facts.etag, checksum, first)

    async def _is_young(self, placed: Placed) -> bool:
        """Whether a commit may name it: S3 dates an object from the beginning of its upload, which may be an earlier life's."""
        if placed.begun_at is None or self._store_now() - placed.begun_at <= REUSE_SECONDS:
            return True
        facts = await self._tools.store.head(placed.key)
        return self._store_now() - facts.modified <= REUSE_SECONDS

    async def _known_files(self) -> KnownFiles:
        if self._known is None:
            self._known = KnownFiles(await self._tools.earlier(self._name))
        return self._known

    def _key(self, path: str, version: int) -> str:
        return self._tools.keys.data(self._name, path, is_directory=self._is_directory, version=version)

    def _store_now(self) -> float:
        return self._tools.clock.wall().timestamp() + (self._tools.store.clock_offset() or 0.0)

    def _written_at(self, file: LocalFile) -> float:
        """Seconds since the epoch by the store's clock."""
        return file.stat.mtime_ns / 1e9 + (self._tools.store.clock_offset() or 0.0)

    async def _remote_objects(self, path: str) -> Mapping[str, StoredObject]:
        place = self._tools.keys.place(self._name, path, is_directory=self._is_directory)
        async with self._listing:  # many files ask at a time: one looks for all
            if place not in self._remote:
                self._remote[place] = {stored.key: stored for stored in await self._tools.store.list(place)}
            return self._remote[place]


def _carries(metadata: Mapping[str, str], ours: Mapping[str, str]) -> bool:
    return all(metadata.get(name) == ours[name] for name in (RUN_METADATA, CHECKPOINT_METADATA))
