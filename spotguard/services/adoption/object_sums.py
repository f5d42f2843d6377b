"""The CRC64NVME of objects that somebody else put there: what the store keeps, else by reading every byte."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from spotguard.core.adoption import ForeignObject
from spotguard.core.run_keys import RUN_METADATA, RunKeys
from spotguard.ports.object_store import ObjectMissing, ObjectStore, StoreRejected
from spotguard.ports.part_transfer import PartTransfer, Slice
from spotguard.ports.progress import ProgressSink
from spotguard.services.restore.part_fetcher import Destination
from spotguard.services.upload.part_engine import first_of

T = TypeVar("T")

_HEADS_AT_ONCE = 16
_FILES_AT_ONCE = 8


class NotTheSame(Exception):
    """An object cannot be taken as it was listed. `str()` is the reason, as one clause."""


@dataclass(frozen=True, slots=True)
class SummedObject:
    key: str
    """Absolute."""
    etag: str
    crc64nvme: int
    bytes_read: int


class ObjectSums:
    def __init__(
        self,
        store: ObjectStore,
        transfer: PartTransfer,
        keys: RunKeys,
        nowhere: Destination,
        progress: ProgressSink,
        *,
        part_bytes: int,
        concurrency: int,
    ) -> None:
        """`nowhere`: where bytes go that are only summed."""
        self._store = store
        self._transfer = transfer
        self._metadata = keys.metadata("")[RUN_METADATA]
        self._nowhere = nowhere
        self._progress = progress
        self._part_bytes = part_bytes
        self._heads = asyncio.Semaphore(_HEADS_AT_ONCE)
        self._files = asyncio.Semaphore(_FILES_AT_ONCE)
        self._parts = asyncio.Semaphore(concurrency)

    async def of(self, objects: Mapping[str, tuple[str, ForeignObject]], label: str) -> Mapping[str, SummedObject]:
        """By the same names: (key, as it was listed) -> its sum. `label` is for the progress.

        Raises NotTheSame for one that has changed since, that an upload of ours left there without a commit, or that cannot be read;
        StoreError."""
        known = dict(zip(objects, await _together(self._head(*found) for found in objects.values()), strict=True))
        unknown = {name: found for name, found in objects.items() if known[name] is None and found[1].size}
        self._progress.start(sum(listed.size for _, listed in unknown.values()), f"reading {label}")
        try:
            read = dict(zip(unknown, await _together(self._read(*found) for found in unknown.values()), strict=True))
        finally:
            self._progress.done()
        sums = {**{name: crc or 0 for name, crc in known.items()}, **read}
        return {
            name: SummedObject(key, listed.etag, sums[name], listed.size if name in unknown else 0)
            for name, (key, listed) in objects.items()
        }

    async def _head(self, key: str, listed: ForeignObject) -> int | None:
        async with self._heads:
            try:
                facts = await self._store.head(key)
            except ObjectMissing as error:
                raise NotTheSame(f"{key} has just been deleted: stop what writes here") from error
        if (facts.size, facts.etag) != (listed.size, listed.etag):
            raise NotTheSame(f"{key} has just changed: stop what writes here")
        if facts.metadata.get(RUN_METADATA) == self._metadata:
            raise NotTheSame(f"{key} is of an upload of spotguard's own that was cut off before its commit")
        return facts.crc64nvme

    async def _read(self, key: str, listed: ForeignObject) -> int:
        async with self._files:
            fd = await self._nowhere.open(key)
            try:
                offsets = range(0, listed.size, self._part_bytes)
                slices = [Slice(fd, offset, min(self._part_bytes, listed.size - offset)) for offset in offsets]
                crcs = await _together(self._read_part(key, part, listed.etag) for part in slices)
            except (ObjectMissing, StoreRejected) as error:
                raise NotTheSame(f"{key} can not be read: {error}") from error
            finally:
                await self._nowhere.close(key, fd, durable=False)
        return self._transfer.combine([(crc, part.size) for crc, part in zip(crcs, slices, strict=True)])

    async def _read_part(self, key: str, part: Slice, etag: str) -> int:
        async with self._parts:
            return await self._transfer.fetch(key, part, etag=etag, progress=self._progress.advance)


async def _together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order. On the first failure the others are cancelled and waited for, then it is raised: no descriptor is in use
    any more when the caller closes it."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as failures:
        raise first_of(failures) from failures
    return [task.result() for task in tasks]
