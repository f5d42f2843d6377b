"""Sends one open file to one key, part by part, in the order that the slots decide. One attempt of each part: retrying is below."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from spotguard.core.part_cut import Part, cut_by, part_size
from spotguard.ports.checkpoint_volume import HeldFile
from spotguard.ports.object_store import StoreDenied, StoreError, StoreUnavailable
from spotguard.ports.part_transfer import FileShrank, PartTransfer, Progress, SentObject, Slice, Upload
from spotguard.services.upload.begun_upload import BegunUpload
from spotguard.services.upload.errand import ChangedWhileSending, Errand, Placed
from spotguard.services.upload.leftovers import Leftovers
from spotguard.services.upload.part_copies import PartCopies
from spotguard.services.upload.part_slots import PartSlots, Rank
from spotguard.services.upload.throughput import Throughput

_PROVEN_AT_ONCE = 2


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
        self._begun: dict[str, BegunUpload] = {}
        self._busy: set[str] = set()
        """Keys that whole files are being sent to."""
        self._proving = asyncio.Semaphore(_PROVEN_AT_ONCE)
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
                await self.forget(errand.key)
                return Placed(*copied, errand.duplicate.first_part)
            if errand.duplicate.usable:
                return await self._send_parts(errand, progress)
        if errand.size <= self.step(errand.size):
            await self.forget(errand.key)
            return Placed(*await self._send_whole(errand, progress))
        return await self._send_parts(errand, progress)

    async def _send_whole(self, errand: Errand, progress: Progress | None) -> SentObject:
        async with self._slots.slot(errand.size, errand.rank):
            with self._throughput.sending(errand.size):
                sent = await self._transfer.put(
                    errand.key,
                    errand.body,
                    only_new=errand.only_new,
                    metadata=errand.metadata,
                    progress=self._counted(progress),
                )
        self._refuse_change(errand)
        return sent

    async def _send_parts(self, errand: Errand, progress: Progress | None) -> Placed:
        self._busy.add(errand.key)
        try:
            return await self._send_begun(errand, await self._begun_for(errand), progress)
        finally:
            self._busy.discard(errand.key)

    async def _begun_for(self, errand: Errand) -> BegunUpload:
        begun = self._begun.get(errand.key)
        if begun is not None and begun.is_of(errand.held.stat, errand.size):
            return begun
        if begun is not None and errand.sums is not None and begun.take_over(errand.held.stat, errand.size):
            return begun
        await self.forget(errand.key)
        begun = self._begun[errand.key] = await self._begin(errand)
        return begun

    async def _send_begun(self, errand: Errand, begun: BegunUpload, progress: Progress | None) -> Placed:
        try:
            await self._missing_parts(errand, begun, progress)
            self._refuse_change(errand)
            sent = await self._transfer.complete(begun.upload, sorted(begun.parts.values()), only_new=errand.only_new)
        except asyncio.CancelledError:
            await begun.ground()
            raise
        except (StoreUnavailable, StoreDenied):
            raise  # the parts stay, in the bucket and in memory: the next attempt goes on from here
        except (ChangedWhileSending, FileShrank):
            if errand.sums is None:
                await asyncio.shield(self.forget(errand.key))
            raise  # what the next content has of this one need not go again
        except BaseException:
            await asyncio.shield(self.forget(errand.key))
            raise
        self._begun.pop(errand.key, None)
        first = begun.parts[1]
        return Placed(*sent, (first.size, first.crc64nvme) if first.size < errand.size else None, begun.upload.initiated)

    async def _begin(self, errand: Errand) -> BegunUpload:
        """Go on with what an earlier life has left, or begin anew."""
        if errand.only_new and (leftover := await self._leftovers.take(errand.key, errand.held, errand.size)) is not None:
            _tell(errand, leftover.size)
            return BegunUpload(leftover.upload, leftover.step, errand.held.stat, errand.size, dict(leftover.parts))
        upload = await self._open(errand.key, errand.metadata)
        return BegunUpload(upload, self.step(errand.size), errand.held.stat, errand.size)

    async def _open(self, key: str, metadata: Mapping[str, str]) -> Upload:
        upload = await self._transfer.begin(key, metadata=metadata)
        return upload._replace(initiated=self._leftovers.store_now())

    def kept(self, errand: Errand) -> int:
        """Bytes of this content that already lie in the bucket as parts: the next `send` goes on after them."""
        begun = self._begun.get(errand.key)
        here = begun is not None and begun.is_of(errand.held.stat, errand.size)
        return sum(part.size for part in begun.parts.values()) if begun is not None and here else 0

    async def begin_ahead(self, key: str, held: HeldFile, size: int, metadata: Mapping[str, str], step: int) -> BegunUpload | None:
        """The upload to this key of a file that is still being written and has so many bytes now: one that was begun, or that an earlier
        life has left, or a new one of parts of `step` bytes. None where the key is sent to already. Raises StoreError, OSError, FileShrank.

        It becomes that of the whole file with the next `send` to its key, or is thrown away with `forget`."""
        if key in self._busy:
            return None
        if (begun := self._begun.get(key)) is not None:
            return begun if begun.of is None else None
        if (leftover := await self._leftovers.take(key, held, size)) is not None:
            whole = {number: part for number, part in leftover.parts.items() if part.size == leftover.step}
            begun = BegunUpload(leftover.upload, leftover.step, unproven=whole)
        else:
            begun = BegunUpload(await self._open(key, metadata), step)
        if key in self._busy or key in self._begun:
            await self._abort(begun)
            return None
        self._begun[key] = begun
        return begun

    async def send_ahead(
        self, begun: BegunUpload, part: Part, held: HeldFile, rank: Rank, leaves: Callable[[], None], progress: Progress
    ) -> None:
        """Send a part of a file that is still being written; `leaves` is called when it does. Raises StoreError, FileShrank, OSError."""
        async with self._slots.slot(part.size, rank, yields=True):
            leaves()
            with self._throughput.sending(part.size, had_room=self._slots.has_room):
                body = Slice(held.fd, part.offset, part.size)
                sent = await self._transfer.send_part(begun.upload, part.number, body, progress=self._counted(progress))
            begun.unproven[part.number] = sent

    async def forget(self, key: str, only: BegunUpload | None = None) -> None:
        """Throw away what has been sent of an unfinished multipart upload to this key, if there is any; of this one, if it is given."""
        if (begun := self._begun.get(key)) is not None and (only is None or only is begun):
            del self._begun[key]
            begun.taken_over.set()
            await begun.ground()
            await self._abort(begun)

    async def _abort(self, begun: BegunUpload) -> None:
        try:
            await asyncio.wait_for(self._transfer.abort(begun.upload), 5)
        except (StoreError, TimeoutError):
            return  # the janitor and the bucket's lifecycle rule abort what is left behind

    async def _missing_parts(self, errand: Errand, begun: BegunUpload, progress: Progress | None) -> None:
        missing = (part for part in cut_by(errand.size, begun.step) if part.number not in begun.parts)
        all_begun = asyncio.get_running_loop().create_future()

        def begin_next() -> None:
            """One part of each file waits for its turn at a time: the next one is made when it has come."""
            if (part := next(missing, None)) is not None:
                group.create_task(self._get_part(errand, begun, part, _once(begin_next), progress))
            elif not all_begun.done():
                all_begun.set_result(None)

        try:
            async with asyncio.TaskGroup() as group:
                begin_next()
                await all_begun
        except BaseExceptionGroup as failures:
            raise first_of(failures) from failures

    async def _get_part(
        self, errand: Errand, begun: BegunUpload, part: Part, begins: Callable[[], None], progress: Progress | None
    ) -> None:
        """Prove, copy or send one part."""
        if part.number in begun.unproven or part.number in begun.flying:
            begins()
            if await self._has(errand, begun, part):
                return
        if errand.duplicate is not None and errand.sums is not None and errand.duplicate.usable:
            copied = await self._copies.part(errand.duplicate, begun.upload, part, errand.held, errand.sums, begins)
            if copied is not None:
                begun.parts[part.number] = copied
                _tell(errand, part.size)
                return
        async with self._slots.slot(part.size, errand.rank):
            begins()
            with self._throughput.sending(part.size, had_room=begun.taken_over.is_set() and self._slots.has_room):
                body = Slice(errand.held.fd, part.offset, part.size)
                sent = await self._transfer.send_part(begun.upload, part.number, body, progress=self._counted(progress))
            begun.parts[part.number] = sent
        self._refuse_change(errand)

    async def _has(self, errand: Errand, begun: BegunUpload, part: Part) -> bool:
        """Whether the part that went before the file was whole has its bytes now."""
        if errand.sums is None or await begun.landed(part.number) is None:
            return False
        async with self._proving:
            sent = begun.unproven.get(part.number)
            if sent is None:
                return False
            same = sent.size == part.size and sent.crc64nvme == await errand.sums.of(part.offset, part.size)
            begun.settle(part.number, proven=same)
        if errand.judged is not None:
            errand.judged(sent.size, same)
        return same

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


def _once(call: Callable[[], None]) -> Callable[[], None]:
    calls = [call]

    def once() -> None:
        if calls:
            calls.pop()()

    return once


def first_of(failures: BaseExceptionGroup) -> BaseException:
    """The first real failure in a group: the others are its consequences."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
