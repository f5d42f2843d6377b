"""Sends one open file to one key, part by part, in the order that the slots decide. One attempt of each part: retrying is below."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from spotguard.core.checkpoint import FileStat
from spotguard.core.part_cut import Part, cut_by, part_size
from spotguard.ports.checkpoint_volume import HeldFile
from spotguard.ports.object_store import StoreDenied, StoreError, StoreUnavailable
from spotguard.ports.part_transfer import PartTransfer, Progress, SentObject, SentPart, Slice, Upload
from spotguard.services.content_sums import ContentSums
from spotguard.services.leftovers import Leftovers
from spotguard.services.part_copies import PartCopies
from spotguard.services.part_slots import PartSlots, Rank
from spotguard.services.reuse import Duplicate
from spotguard.services.throughput import Throughput


class ChangedWhileSending(Exception):
    """The file was rewritten under our hands: what was sent is no version of it."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One file to send."""

    held: HeldFile
    size: int
    """Bytes to send from the start of the file."""
    key: str
    metadata: Mapping[str, str]
    rank: Rank
    only_new: bool = True
    may_grow: bool = False
    """True for a loose file: what is appended meanwhile belongs to the next time."""
    duplicate: Duplicate | None = None
    """An object with this content, to be copied instead of sending the bytes."""
    sums: ContentSums | None = None
    """Of the held file; there where `duplicate` is."""
    found: Progress | None = None
    """Told of bytes that need not go: copied, or left in the bucket by an earlier life."""


class Placed(NamedTuple):
    """An object with the content of an errand."""

    key: str
    size: int
    etag: str
    crc64nvme: int
    first_part: tuple[int, int] | None = None
    """Size and CRC64NVME of the first part of several."""
    begun_at: float | None = None
    """When an earlier life began its upload, in seconds since the epoch by S3's clock; S3 may date the object from then."""


@dataclass(slots=True)
class _Begun:
    """A multipart upload that has been opened and not ended; not frozen, because its parts come one by one."""

    upload: Upload
    of: FileStat
    size: int
    step: int
    """Bytes per part."""
    parts: dict[int, SentPart] = field(default_factory=dict)


class PartEngine:
    def __init__(
        self,
        transfer: PartTransfer,
        slots: PartSlots,
        throughput: Throughput,
        *,
        part_bytes: int,
        copies: PartCopies,
        leftovers: Leftovers,
    ) -> None:
        self._transfer = transfer
        self._slots = slots
        self._throughput = throughput
        self._part_bytes = part_bytes
        self._copies = copies
        self._leftovers = leftovers
        self._begun: dict[str, _Begun] = {}
        self.combine = transfer.combine

    @property
    def part_bytes(self) -> int:
        return self._part_bytes

    def step(self, size: int) -> int:
        """Bytes per part of a file of this size."""
        return part_size(size, self._part_bytes)

    async def send(self, errand: Errand, progress: Progress | None = None) -> Placed:
        """Send the file, or of it what is not in the bucket yet. On return the object is durable under the key and its content was one
        version of the file.

        Raises ChangedWhileSending (nothing was made visible by a multipart upload; a single PUT may have left an object that no
        manifest will name), FileShrank, ObjectExists, and any StoreError that outlived its retries. Cancelled, or the store out of
        reach: the parts that have gone stay and the next `send` of the same content to the same key goes on from there (see `kept`), in
        this life or, by listing, in a later one; `progress` counts only what goes now.
        """
        if errand.duplicate is not None:
            copied = await self._copies.whole(errand.duplicate, errand.key, errand.size, errand.metadata)
            if copied is not None:
                self._refuse_change(errand)
                _tell(errand, errand.size)
                return Placed(*copied, errand.duplicate.first_part)
            if errand.duplicate.usable:
                return await self._send_parts(errand, progress)
        if errand.size <= self.step(errand.size):
            return Placed(*await self._send_whole(errand, progress))
        return await self._send_parts(errand, progress)

    async def _send_whole(self, errand: Errand, progress: Progress | None) -> SentObject:
        async with self._slots.slot(errand.size, errand.rank):
            with self._throughput.sending(errand.size):
                sent = await self._transfer.put(
                    errand.key,
                    Slice(errand.held.fd, 0, errand.size),
                    only_new=errand.only_new,
                    metadata=errand.metadata,
                    progress=self._counted(progress),
                )
        self._refuse_change(errand)
        return sent

    async def _send_parts(self, errand: Errand, progress: Progress | None) -> Placed:
        begun = self._begun_of(errand)
        if begun is None:
            await self.forget(errand.key)
            begun = self._begun[errand.key] = await self._begin(errand)
        try:
            await self._missing_parts(errand, begun, progress)
            self._refuse_change(errand)
            sent = await self._transfer.complete(begun.upload, sorted(begun.parts.values()), only_new=errand.only_new)
        except (StoreUnavailable, StoreDenied, asyncio.CancelledError):
            raise  # the parts stay, in the bucket and in memory: the next attempt goes on from here
        except BaseException:
            await asyncio.shield(self.forget(errand.key))
            raise
        self._begun.pop(errand.key, None)
        first = begun.parts[1]
        return Placed(*sent, (first.size, first.crc64nvme) if first.size < errand.size else None, begun.upload.initiated)

    async def _begin(self, errand: Errand) -> _Begun:
        """Go on with what an earlier life has left, or begin anew."""
        if errand.only_new and (leftover := await self._leftovers.take(errand.key, errand.held, errand.size)) is not None:
            _tell(errand, leftover.size)
            return _Begun(leftover.upload, errand.held.stat, errand.size, leftover.step, dict(leftover.parts))
        upload = await self._transfer.begin(errand.key, metadata=errand.metadata)
        return _Begun(upload, errand.held.stat, errand.size, self.step(errand.size))

    def kept(self, errand: Errand) -> int:
        """Bytes of this content that already lie in the bucket as parts: the next `send` goes on after them."""
        begun = self._begun_of(errand)
        return 0 if begun is None else sum(part.size for part in begun.parts.values())

    def _begun_of(self, errand: Errand) -> _Begun | None:
        begun = self._begun.get(errand.key)
        return begun if begun is not None and begun.of == errand.held.stat and begun.size == errand.size else None

    async def forget(self, key: str) -> None:
        """Throw away what has been sent of an unfinished multipart upload to this key, if there is any."""
        if begun := self._begun.pop(key, None):
            try:
                await asyncio.wait_for(self._transfer.abort(begun.upload), 5)
            except (StoreError, TimeoutError):
                return  # the janitor and the bucket's lifecycle rule abort what is left behind

    async def _missing_parts(self, errand: Errand, begun: _Begun, progress: Progress | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                for part in cut_by(errand.size, begun.step):
                    if part.number in begun.parts:
                        continue
                    turn: asyncio.Future[None] = loop.create_future()
                    task = group.create_task(self._get_part(errand, begun, part, turn, progress))
                    # one waiter per file: the next part asks for a slot only when this one has got its own
                    await asyncio.wait({turn, task}, return_when=asyncio.FIRST_COMPLETED)
        except BaseExceptionGroup as failures:
            raise first_of(failures) from failures

    async def _get_part(self, errand: Errand, begun: _Begun, part: Part, turn: asyncio.Future[None], progress: Progress | None) -> None:
        """Copy or send one part; `turn` is done when it begins."""
        if errand.duplicate is not None and errand.sums is not None and errand.duplicate.usable:
            copied = await self._copies.part(errand.duplicate, begun.upload, part, errand.held, errand.sums, turn)
            if copied is not None:
                begun.parts[part.number] = copied
                _tell(errand, part.size)
                return
        async with self._slots.slot(part.size, errand.rank):
            if not turn.done():
                turn.set_result(None)
            with self._throughput.sending(part.size):
                body = Slice(errand.held.fd, part.offset, part.size)
                sent = await self._transfer.send_part(begun.upload, part.number, body, progress=self._counted(progress))
            begun.parts[part.number] = sent
        self._refuse_change(errand)

    def _refuse_change(self, errand: Errand) -> None:
        if not errand.may_grow and not errand.held.unchanged():
            raise ChangedWhileSending(errand.key)

    def _counted(self, progress: Progress | None) -> Progress:
        def count(size: int) -> None:
            self._throughput.sent(size)
            if progress is not None:
                progress(size)

        return count


def _tell(errand: Errand, size: int) -> None:
    if errand.found is not None:
        errand.found(size)


def first_of(failures: BaseExceptionGroup) -> BaseException:
    """The first real failure in a group: the others are its consequences."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
