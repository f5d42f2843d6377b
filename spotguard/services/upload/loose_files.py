"""Mirrors the loose files: what lies under the root and belongs to no checkpoint. Last write wins, but never over what is not ours."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import structlog

from spotguard.core.checkpoint import LocalFile, LooseFolder
from spotguard.core.checksum import encode_crc64
from spotguard.core.loose import LooseFile, decode_index, encode_index, is_due
from spotguard.core.loose_index import LooseIndex, Sent, is_same, sent
from spotguard.core.manifest import ManifestError
from spotguard.core.packed_rows import split
from spotguard.core.run_keys import LOOSE
from spotguard.ports.checkpoint_volume import CannotRead
from spotguard.ports.object_store import ObjectExists, ObjectMissing
from spotguard.ports.part_transfer import FileShrank
from spotguard.services.upload.checkpoint_upload import UploadTools
from spotguard.services.upload.errand import ChangedWhileSending, Errand, Placed
from spotguard.services.upload.part_engine import first_of

log = structlog.get_logger()

_AT_ONCE = 8
_IN_ONE_PASS = 10_000
"""Then the index is written, so that a first pass over very many is not for nothing if it is cut off."""
_LAST_IN_LINE = (1_000_000,)
_UNREADABLE_REST_SECONDS = 60.0
_CHANGING_REST_SECONDS = 2.0


class Due(NamedTuple):
    """What wants to be sent now."""

    files: list[LocalFile]
    """Oldest change first. At most so many that they, and what is known of them, are a small part of all."""
    is_all: bool


class LooseFiles:
    def __init__(self, tools: UploadTools, *, loose_seconds: float) -> None:
        self._tools = tools
        self._loose_seconds = loose_seconds
        self._index: LooseIndex | None = None
        self._index_is_written = True
        self._settled: dict[str, object] = {}
        """Folders with nothing to send, and what they looked like then: they are not gone through until they look different."""
        self._unreadable: set[str] = set()
        self._resting: dict[str, float] = {}
        """Until when (monotonic) one that could not be sent is left alone."""

    def due(self, loose: Sequence[LooseFolder], *, urgent: bool) -> Due:
        """What must be sent now. Everything, before the index of the bucket is known."""
        files = heapq.nsmallest(_IN_ONE_PASS, self._due(loose, urgent=urgent), key=lambda file: file.stat.mtime_ns)
        return Due(files, len(files) < _IN_ONE_PASS)

    def pending(self, loose: Sequence[LooseFolder], *, urgent: bool) -> int:
        """How many must be sent now."""
        return sum(1 for _ in self._due(loose, urgent=urgent))

    @property
    def owes_index(self) -> bool:
        """Whether files were sent that the index in the bucket does not name yet."""
        return not self._index_is_written

    def _due(self, loose: Sequence[LooseFolder], *, urgent: bool) -> Iterator[LocalFile]:
        """To be gone through to its end."""
        now = self._tools.clock.monotonic()
        settled: dict[str, object] = {}
        different: set[str] = set()
        for folder in loose:
            state = folder.state
            if self._index is not None and self._settled.get(folder.path) == state:
                settled[folder.path] = state
                continue
            known = self._index.known_in(folder.path) if self._index is not None else {}
            is_settled = self._index is not None
            for file in folder.files():
                row = known.get(split(file.path)[1])
                if row is not None and is_same(row, file.stat.size, file.stat.mtime_ns):
                    continue
                is_settled = False
                if file.path in self._resting:
                    different.add(file.path)
                    if self._resting[file.path] > now:
                        continue
                last = None if row is None else sent(folder.path, row)
                if self._is_due(file, last, now, urgent=urgent):
                    yield file
            if is_settled:
                settled[folder.path] = state
        self._settled = settled
        for path in self._resting.keys() - different:
            del self._resting[path]
        self._unreadable &= different

    def _is_due(self, file: LocalFile, last: Sent | None, now: float, *, urgent: bool) -> bool:
        sent_ago = None if last is None or last.at is None else now - last.at
        known = None if last is None else last.file
        return is_due(file.stat, known, sent_ago=sent_ago, loose_seconds=self._loose_seconds, urgent=urgent)

    async def send(self, files: list[LocalFile]) -> None:
        """Send these and then the index. Files that vanish or may not be read are left out with one line each. Raises StoreError."""
        index = await self._known()
        waiting = iter(_beside_what_is_known(files, index))

        async def worker() -> None:
            for file, known in waiting:
                await self._send_one(file, known, index)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(worker())
        except BaseExceptionGroup as failures:
            raise first_of(failures) from failures
        if self.owes_index:
            await self._tools.store.replace(self._tools.keys.loose_index, encode_index(index.files()), metadata=self._metadata())
            self._index_is_written = True

    async def _known(self) -> LooseIndex:
        if self._index is None:
            try:
                known = decode_index(await self._tools.store.read(self._tools.keys.loose_index))
            except ObjectMissing:
                known = {}
            except ManifestError as error:
                log.error("loose_index.refused", key=self._tools.keys.loose_index, reason=str(error), instead="it is written anew")
                known = {}
            self._index = LooseIndex(known.values())
        return self._index

    async def _send_one(self, file: LocalFile, known: LooseFile | None, index: LooseIndex) -> None:
        await self._tools.until_telling(file.stat)
        try:
            held = await self._tools.volume.hold(file.source)
        except FileNotFoundError:
            self._rest(file, _CHANGING_REST_SECONDS)
            return
        except CannotRead as error:
            self._rest(file, _UNREADABLE_REST_SECONDS)
            if file.path not in self._unreadable:
                self._unreadable.add(file.path)
                log.warning("loose.skipped", path=file.path, reason=str(error))
            return
        try:
            size = held.stat.size
            placed = await self._place(file.path, known, Errand(held, size, "", self._metadata(), lambda: _LAST_IN_LINE, may_grow=True))
        except (FileShrank, ChangedWhileSending):
            self._rest(file, _CHANGING_REST_SECONDS)
            return  # it is being rewritten: the next scan sees another stat and it is due again
        finally:
            held.close()
        key = self._tools.keys.relative(placed.key)
        entry = LooseFile(file.path, key, placed.size, encode_crc64(placed.crc64nvme), held.stat.mode, held.stat.mtime_ns)
        index.put(entry, self._tools.clock.monotonic())
        self._index_is_written = False

    def _rest(self, file: LocalFile, seconds: float) -> None:
        self._resting[file.path] = self._tools.clock.monotonic() + seconds

    async def _place(self, path: str, known: LooseFile | None, errand: Errand) -> Placed:
        """Overwrite our own earlier copy; a key that somebody else wrote is left alone and the next `@n` is taken."""
        if known is not None:
            return await self._tools.engine.send(_to(errand, self._tools.keys.absolute(known.key), only_new=False))
        version = 1
        while True:
            key = self._tools.keys.loose(path, version=version)
            try:
                return await self._tools.engine.send(_to(errand, key, only_new=True))
            except ObjectExists:
                if await self._is_ours(key):
                    return await self._tools.engine.send(_to(errand, key, only_new=False))
                version += 1

    async def _is_ours(self, key: str) -> bool:
        facts = await self._tools.store.head(key)
        return all(facts.metadata.get(name) == value for name, value in self._metadata().items())

    def _metadata(self) -> dict[str, str]:
        return self._tools.keys.metadata(LOOSE)


def _beside_what_is_known(files: list[LocalFile], index: LooseIndex) -> list[tuple[LocalFile, LooseFile | None]]:
    """Without those that are in the bucket as they are."""
    known = {folder: index.known_in(folder) for folder in {split(file.path)[0] for file in files}}
    found: list[tuple[LocalFile, LooseFile | None]] = []
    for file in files:
        folder, name = split(file.path)
        row = known[folder].get(name)
        if row is None:
            found.append((file, None))
        elif not is_same(row, file.stat.size, file.stat.mtime_ns):
            found.append((file, sent(folder, row).file))
    return found


def _to(errand: Errand, key: str, *, only_new: bool) -> Errand:
    return Errand(errand.held, errand.size, key, errand.metadata, errand.rank, only_new=only_new, may_grow=True)
