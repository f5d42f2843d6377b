"""Brings objects into files that wait for them, in parts and in parallel, and proves every byte by its checksum."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Protocol

from spotguard.core.checksum import encode_crc64
from spotguard.ports.bulk_fetch import SMALL_BYTES, BulkFetch, Wanted
from spotguard.ports.object_store import ObjectMissing, StoreRejected
from spotguard.ports.part_transfer import PartTransfer, Slice
from spotguard.ports.placement import failure_of
from spotguard.ports.progress import ProgressSink

_BATCH_FILES = 96
_BATCHES_AT_ONCE = 2
"""The files of one are opened while those of the other arrive."""
_ATTEMPTS = 2
"""How often a file is fetched whose checksum is wrong: bits may flip on the way as well as in the store."""


class DamagedObject(Exception):
    """An object is not what its manifest says. `str()` names it; `path` is where it was to go."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


class Destination(Protocol):
    """Where the bytes of a file go."""

    async def open(self, path: str) -> int: ...

    async def open_all(self, paths: Sequence[str]) -> Sequence[int]:
        """The same for many. On raising, or cancelled, none is open."""
        ...

    async def close(self, path: str, fd: int, *, durable: bool) -> None: ...

    async def close_all(self, files: Sequence[tuple[str, int]], *, durable: bool) -> None:
        """The same for many (path, descriptor). On raising, all are closed."""
        ...


@dataclass(frozen=True, slots=True)
class Fetch:
    """One file to bring."""

    path: str
    """At the destination."""
    key: str
    """Absolute in the bucket."""
    size: int
    crc64nvme: str
    """As manifests write it."""


@dataclass(slots=True, eq=False)
class _Underway:
    """One file while its parts arrive; touched only from the event loop."""

    what: Fetch
    fd: int | None = None
    waiting: int = 0
    """Parts that have not arrived."""
    sums: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Offset -> (CRC64NVME, size)."""
    attempt: int = 1
    given_up: bool = False
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)


class PartFetcher:
    def __init__(self, transfer: PartTransfer, *, part_bytes: int, concurrency: int, bulk: BulkFetch | None = None) -> None:
        """`bulk`: small files are first tried by it."""
        self._transfer = transfer
        self._part_bytes = part_bytes
        self._concurrency = concurrency
        self._bulk = bulk

    async def fetch(
        self, files: Iterable[Fetch], destination: Destination, progress: ProgressSink, *, durable: bool = True, go_on: bool = False
    ) -> list[DamagedObject]:
        """Bring these files. On return all of them are complete, verified and (if `durable`) flushed to the disk, but those returned.

        Raises DamagedObject for the first that is not what it should be, or with `go_on` returns them all in the end. Raises NoSpace,
        PlacementFailed, StoreError. Failed or cancelled: files hold anything, no descriptor stays open."""
        course = _Course(self._transfer, self._bulk, self._part_bytes, list(files), destination, progress, durable=durable, go_on=go_on)
        await course.run(self._concurrency)
        return course.damaged


class _Course:
    """One call of `fetch`, done by a fixed number of workers: small files in batches, then the parts of the others. Open are the files of
    the batches under way and a few for each worker."""

    def __init__(
        self,
        transfer: PartTransfer,
        bulk: BulkFetch | None,
        part_bytes: int,
        files: list[Fetch],
        destination: Destination,
        progress: ProgressSink,
        *,
        durable: bool,
        go_on: bool,
    ) -> None:
        self.damaged: list[DamagedObject] = []
        self._go_on = go_on
        self._transfer = transfer
        self._bulk = bulk
        self._part_bytes = part_bytes
        self._files = deque(_Underway(what) for what in files)
        self._batches = asyncio.Semaphore(_BATCHES_AT_ONCE)
        self._parts: deque[tuple[_Underway, int, int]] = deque()
        self._open: set[_Underway] = set()
        self._destination = destination
        self._progress = progress
        self._durable = durable

    async def run(self, workers: int) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._work())
        except BaseExceptionGroup as failures:
            raise _first(failures) from failures
        finally:
            for file in list(self._open):
                await asyncio.shield(self._close(file, durable=False))

    async def _work(self) -> None:
        while self._parts or self._files:
            if self._parts:
                file, offset, size = self._parts.popleft()
            elif self._is_small(self._files[0]):
                async with self._batches:
                    if len(batch := self._next_batch()) > 1:
                        await self._bring_all(batch)
                        continue
                if not batch:
                    continue
                file, offset, size = batch[0], 0, 0
            else:
                file, offset, size = self._files.popleft(), 0, 0
            try:
                await self._advance(file, offset, size)
            except DamagedObject as damage:
                if not self._go_on:
                    raise
                await self._give_up(file, damage)

    async def _advance(self, file: _Underway, offset: int, size: int) -> None:
        if size == 0:
            self._cut(file)
            return
        try:
            if not file.given_up:
                await self._bring(file, offset, size)
        finally:
            file.waiting -= 1
        if file.waiting == 0:
            await (self._close(file, durable=False) if file.given_up else self._settle(file))

    async def _give_up(self, file: _Underway, damage: DamagedObject) -> None:
        if not file.given_up:
            file.given_up = True
            self.damaged.append(damage)
        if file.waiting == 0:
            await self._close(file, durable=False)

    def _next_batch(self) -> list[_Underway]:
        """Small files that come next, taken from the queue; it may have changed while others had their turn."""
        return [self._files.popleft() for _ in takewhile(self._is_small, tuple(islice(self._files, _BATCH_FILES)))]

    def _is_small(self, file: _Underway) -> bool:
        return self._bulk is not None and 0 < file.what.size <= min(SMALL_BYTES, self._part_bytes)

    async def _bring_all(self, batch: list[_Underway]) -> None:
        """Those that do not come so, or not right, are queued to be fetched one by one, which says why."""
        assert self._bulk is not None
        wanted = []
        for file, fd in zip(batch, await self._destination.open_all([file.what.path for file in batch]), strict=True):
            file.fd = fd
            wanted.append(Wanted(file.what.key, Slice(fd, 0, file.what.size)))
        self._open.update(batch)
        sums = await self._bulk.fetch_all(wanted)
        right = []
        for file, crc in zip(batch, sums, strict=True):
            if crc is not None and encode_crc64(crc) == file.what.crc64nvme:
                right.append(file)
                self._progress.advance(file.what.size)
            else:
                await self._close(file, durable=False)  # it may wait for long
                self._cut(file)
        self._open.difference_update(right)
        await self._destination.close_all([(file.what.path, _given_up(file)) for file in right], durable=self._durable)

    def _cut(self, file: _Underway) -> None:
        """Queue the parts of a file. An empty one has none: there is nothing to ask for."""
        size = file.what.size
        if size == 0:
            _refuse_difference(file.what, encode_crc64(0))
            return
        offsets = range(0, size, self._part_bytes)
        file.waiting, file.sums = len(offsets), {}
        self._parts.extend((file, offset, min(self._part_bytes, size - offset)) for offset in offsets)

    async def _bring(self, file: _Underway, offset: int, size: int) -> None:
        what = file.what
        fd = await self._opened(file)
        try:
            crc = await self._transfer.fetch(what.key, Slice(fd, offset, size), progress=self._progress.advance)
        except ObjectMissing as error:
            raise DamagedObject(what.path, f"the object {what.key} is missing") from error
        except StoreRejected as error:
            raise DamagedObject(what.path, f"the object {what.key} can not be read: {error}") from error
        except OSError as error:
            raise failure_of(error, what.path) from error
        file.sums[offset] = (crc, size)

    async def _opened(self, file: _Underway) -> int:
        async with file.opening:
            if file.fd is None:
                file.fd = await self._destination.open(file.what.path)
                self._open.add(file)
            return file.fd

    async def _settle(self, file: _Underway) -> None:
        whole = self._transfer.combine([file.sums[offset] for offset in sorted(file.sums)])
        if encode_crc64(whole) != file.what.crc64nvme and file.attempt < _ATTEMPTS:
            file.attempt += 1
            self._progress.advance(-file.what.size)
            self._cut(file)
            return
        _refuse_difference(file.what, encode_crc64(whole))
        await self._close(file, durable=self._durable)

    async def _close(self, file: _Underway, *, durable: bool) -> None:
        fd, file.fd = file.fd, None
        if fd is not None:
            self._open.discard(file)
            await self._destination.close(file.what.path, fd, durable=durable)


def _given_up(file: _Underway) -> int:
    """The descriptor, which somebody else closes."""
    fd, file.fd = file.fd, None
    assert fd is not None
    return fd


def _refuse_difference(what: Fetch, crc64nvme: str) -> None:
    if crc64nvme != what.crc64nvme:
        raise DamagedObject(what.path, f"the object {what.key} is damaged: its checksum is {crc64nvme}, not {what.crc64nvme}")


def _first(failures: BaseExceptionGroup) -> BaseException:
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
