"""Sends one open file to one key, part by part, in the order that the slots decide. One attempt of each part: retrying is below."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from spotguard.core.checkpoint import FileStat
from spotguard.core.part_cut import Part, cut, part_size
from spotguard.ports.checkpoint_volume import HeldFile
from spotguard.ports.object_store import StoreDenied, StoreError, StoreUnavailable
from spotguard.ports.part_transfer import PartTransfer, Progress, SentObject, SentPart, Slice, Upload
from spotguard.services.part_slots import PartSlots, Rank
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


@dataclass(slots=True)
class _Begun:
    """A multipart upload that has been opened and not ended; not frozen, because its parts come one by one."""

    upload: Upload
    of: FileStat
    size: int
    parts: dict[int, SentPart] = field(default_factory=dict)


class PartEngine:
    def __init__(self, transfer: PartTransfer, slots: PartSlots, throughput: Throughput, *, part_bytes: int) -> None:
        self._transfer = transfer
        self._slots = slots
        self._throughput = throughput
        self._part_bytes = part_bytes
        self._begun: dict[str, _Begun] = {}

    @property
    def part_bytes(self) -> int:
        return self._part_bytes

    async def send(self, errand: Errand, progress: Progress | None = None) -> SentObject:
        """Send the file. On return the object is durable under the key and its content was one version of the file.

        Raises ChangedWhileSending (nothing was made visible by a multipart upload; a single PUT may have left an object that no
        manifest will name), FileShrank, ObjectExists, and any StoreError that outlived its retries. Cancelled, or the store out of
        reach: the parts that have gone stay and the next `send` of the same content to the same key goes on from there (see `kept`);
        `progress` counts only what goes now.
        """
        if errand.size <= part_size(errand.size, self._part_bytes):
            return await self._send_whole(errand, progress)
        return await self._send_parts(errand, progress)

    async def _send_whole(self, errand: Errand, progress: Progress | None) -> SentObject:
        async with self._slots.slot(errand.size, errand.rank):
            self._throughput.began()
            try:
                sent = await self._transfer.put(
                    errand.key,
                    Slice(errand.held.fd, 0, errand.size),
                    only_new=errand.only_new,
                    metadata=errand.metadata,
                    progress=self._counted(progress),
                )
            finally:
                self._throughput.ended()
        self._refuse_change(errand)
        return sent

    async def _send_parts(self, errand: Errand, progress: Progress | None) -> SentObject:
        begun = self._begun_of(errand)
        if begun is None:
            await self.forget(errand.key)
            upload = await self._transfer.begin(errand.key, metadata=errand.metadata)
            begun = self._begun[errand.key] = _Begun(upload, errand.held.stat, errand.size)
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
        return sent

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
        async def send(part: Part, turn: asyncio.Future[None]) -> None:
            async with self._slots.slot(part.size, errand.rank):
                turn.set_result(None)
                self._throughput.began()
                try:
                    body = Slice(errand.held.fd, part.offset, part.size)
                    sent = await self._transfer.send_part(begun.upload, part.number, body, progress=self._counted(progress))
                    begun.parts[part.number] = sent
                finally:
                    self._throughput.ended()
            self._refuse_change(errand)

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                for part in cut(errand.size, self._part_bytes):
                    if part.number in begun.parts:
                        continue
                    turn: asyncio.Future[None] = loop.create_future()
                    task = group.create_task(send(part, turn))
                    # one waiter per file: the next part asks for a slot only when this one has got its own
                    await asyncio.wait({turn, task}, return_when=asyncio.FIRST_COMPLETED)
        except BaseExceptionGroup as failures:
            raise first_of(failures) from failures

    def _refuse_change(self, errand: Errand) -> None:
        if not errand.may_grow and not errand.held.unchanged():
            raise ChangedWhileSending(errand.key)

    def _counted(self, progress: Progress | None) -> Progress:
        def count(size: int) -> None:
            self._throughput.sent(size)
            if progress is not None:
                progress(size)

        return count


def first_of(failures: BaseExceptionGroup) -> BaseException:
    """The first real failure in a group: the others are its consequences."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
