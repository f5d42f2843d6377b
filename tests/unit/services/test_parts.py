"""Slots, the part engine and the measured throughput: who sends when, what is kept, what is thrown away."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from spotguard.core.reuse import KnownFiles
from spotguard.ports.checkpoint_volume import HeldFile
from spotguard.ports.object_store import ObjectExists, StoreUnavailable, UploadMissing
from spotguard.services.upload.content_sums import ContentSums
from spotguard.services.upload.errand import ChangedWhileSending
from spotguard.services.upload.growing_file import Ending, GrowingFile
from spotguard.services.upload.part_slots import PartSlots
from spotguard.services.upload.throughput import Throughput
from tests.support.faulty_store import Fault
from tests.support.virtual_time import VirtualClock, run_virtual
from tests.unit.services.sending_world import Sending

MIB = 1 << 20


class Slots:
    """Who is in, in the order of getting in."""

    def __init__(self, slots: int, in_flight_bytes: int) -> None:
        self.slots = PartSlots(slots, in_flight_bytes)
        self.order: list[str] = []
        self.leave: dict[str, asyncio.Event] = {}
        self.ranks: dict[str, int] = {}

    def enter(self, name: str, size: int = 1, rank: int = 0) -> asyncio.Task[None]:
        self.leave[name], self.ranks[name] = asyncio.Event(), rank

        async def use() -> None:
            async with self.slots.slot(size, lambda: (self.ranks[name],)):
                self.order.append(name)
                await self.leave[name].wait()

        return asyncio.ensure_future(use())

    async def out(self, name: str) -> None:
        self.leave[name].set()
        await asyncio.sleep(0.01)


def test_a_slot_goes_to_the_best_rank_as_it_is_when_the_slot_falls_free() -> None:
    async def story() -> None:
        slots = Slots(1, 100)
        tasks = [slots.enter("first")]
        await asyncio.sleep(0.01)
        tasks += [slots.enter("a", rank=1), slots.enter("b", rank=2), slots.enter("c", rank=3)]
        await asyncio.sleep(0.01)
        slots.ranks["c"] = 0
        for name in ("first", "c", "a", "b"):
            await slots.out(name)
        await asyncio.gather(*tasks)
        assert slots.order == ["first", "c", "a", "b"]

    run_virtual(story())


def test_who_is_cancelled_while_waiting_or_inside_leaves_no_slot_taken() -> None:
    async def story() -> None:
        slots = Slots(1, 100)
        inside = slots.enter("inside", size=100)
        await asyncio.sleep(0.01)
        waiting = slots.enter("waiting", size=100)
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.sleep(0.01)
        admitted = slots.enter("admitted", size=100)
        await asyncio.sleep(0.01)
        inside.cancel()
        admitted.cancel()  # its turn and its cancellation come in the same moment
        await asyncio.wait({inside, waiting, admitted})
        last = [slots.enter("x", size=100)]
        await asyncio.sleep(0.01)
        assert slots.order == ["inside", "x"]
        await slots.out("x")
        await asyncio.gather(*last)

    run_virtual(story())


def test_who_is_cancelled_after_its_turn_was_given_passes_it_on() -> None:
    async def story() -> None:
        slots = Slots(1, 100)
        first, second, third = slots.enter("first"), None, None
        await asyncio.sleep(0.01)
        second, third = slots.enter("second", rank=1), slots.enter("third", rank=2)
        await asyncio.sleep(0.01)
        slots.leave["first"].set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait({first, second})
        await asyncio.sleep(0.01)
        assert slots.order[-1] == "third"
        await slots.out("third")
        await third

    run_virtual(story())


def test_a_part_that_is_larger_than_all_the_room_goes_alone_and_is_not_starved_by_small_ones() -> None:
    async def story() -> None:
        slots = Slots(4, 10)
        tasks = [slots.enter("small", size=1)]
        await asyncio.sleep(0.01)
        tasks += [slots.enter("huge", size=50, rank=1), slots.enter("tiny", size=1, rank=2)]
        await asyncio.sleep(0.01)
        assert slots.order == ["small"]
        await slots.out("small")
        assert slots.order == ["small", "huge"]
        await slots.out("huge")
        assert slots.order == ["small", "huge", "tiny"]
        await slots.out("tiny")
        await asyncio.gather(*tasks)

    run_virtual(story())


def test_after_an_outage_only_the_missing_parts_are_sent() -> None:
    async def story() -> None:
        sending = Sending(20 * MIB)
        errand = await sending.errand()
        sending.faults.plan("send_part", Fault.NONE, Fault.NONE, Fault.UNAVAILABLE)
        with pytest.raises(StoreUnavailable):
            await sending.engine.send(errand, sending.count)
        assert sending.engine.kept(errand) == 10 * MIB
        await sending.engine.send(errand, sending.count)
        assert sending.verbs() == ["begin", *["send_part"] * 4, "complete"]
        assert sending.progress == 20 * MIB
        assert sending.engine.kept(errand) == 0
        assert sending.bucket.objects["run1/f"].body == sending.disk.content("f")
        sending.disk.close()

    run_virtual(story())


def test_a_cancelled_file_goes_on_from_its_parts() -> None:
    async def story() -> None:
        sending = Sending(20 * MIB)
        errand = await sending.errand()
        task = asyncio.ensure_future(sending.engine.send(errand))
        await asyncio.sleep(12)
        task.cancel()
        await asyncio.wait({task})
        assert sending.engine.kept(errand) == 10 * MIB
        await sending.engine.send(errand)
        assert sending.verbs().count("send_part") == 4
        assert sending.verbs().count("begin") == 1
        sending.disk.close()

    run_virtual(story())


def test_a_file_that_changes_is_thrown_away_and_leaves_no_open_upload() -> None:
    async def story() -> None:
        sending = Sending(20 * MIB)
        errand = await sending.errand()
        task = asyncio.ensure_future(sending.engine.send(errand))
        await asyncio.sleep(7)
        sending.disk.write("f", b"x" * 20 * MIB)
        with pytest.raises(ChangedWhileSending):
            await task
        assert not sending.bucket.uploads
        assert not sending.bucket.objects
        assert sending.engine.kept(errand) == 0
        sending.disk.close()

    run_virtual(story())


def test_other_content_under_the_same_key_never_goes_on_from_the_parts_of_the_old() -> None:
    async def story() -> None:
        sending = Sending(20 * MIB)
        sending.faults.plan("send_part", Fault.NONE, Fault.UNAVAILABLE)
        with pytest.raises(StoreUnavailable):
            await sending.engine.send(await sending.errand())
        sending.disk.write("f", b"y" * 20 * MIB, replace=True)
        await sending.engine.send(await sending.errand())
        assert sending.bucket.objects["run1/f"].body == b"y" * 20 * MIB
        assert not sending.bucket.uploads
        sending.disk.close()

    run_virtual(story())


@pytest.mark.parametrize(("verb", "error"), [("complete", StoreUnavailable), ("put", StoreUnavailable)])
def test_a_lost_answer_at_the_end_is_told_as_such_and_never_overwrites(verb: str, error: type[Exception]) -> None:
    async def story() -> None:
        sending = Sending(20 * MIB if verb == "complete" else MIB)
        errand = await sending.errand()
        sending.faults.plan(verb, Fault.LOST_ANSWER)
        with pytest.raises(error):
            await sending.engine.send(errand)
        first = sending.bucket.objects["run1/f"].etag
        with pytest.raises((ObjectExists, UploadMissing)):
            await sending.engine.send(errand)
        assert sending.bucket.objects["run1/f"].etag == first
        sending.disk.close()

    run_virtual(story())


def test_what_went_lately_is_told_with_idle_time_included() -> None:
    async def story() -> None:
        throughput = Throughput(VirtualClock())
        for _ in range(10):
            await asyncio.sleep(1)
            throughput.sent(2 * MIB)
        assert throughput.bytes_per_second == 2 * MIB
        await asyncio.sleep(1000)
        assert throughput.bytes_per_second == 0
        assert throughput.total_bytes == 20 * MIB

    run_virtual(story())


def test_an_attempt_that_starts_over_counts_its_bytes_once() -> None:
    async def story() -> None:
        throughput = Throughput(VirtualClock())
        for size in (3 * MIB, -3 * MIB, 3 * MIB):
            await asyncio.sleep(1)
            throughput.sent(size)
        assert throughput.total_bytes == 3 * MIB

    run_virtual(story())


class Ahead:
    """The file of a `Sending`, sent ahead by a task of its own."""

    def __init__(self, sending: Sending, held: HeldFile) -> None:
        self.progress = 0
        growing = GrowingFile(sending.engine, sending.disk, held, "run1/f", lambda: (1,), self.count)
        self.task = asyncio.ensure_future(growing.send({}, 5 * MIB, KnownFiles()))

    def count(self, size: int) -> None:
        self.progress += size


@pytest.mark.parametrize("seconds", [0, 1, 2.5, 7])
def test_who_is_cancelled_while_the_whole_file_takes_its_parts_over_reads_the_file_no_more(seconds: float) -> None:
    async def story() -> None:
        sending = Sending(40 * MIB, slots=4)
        held = await sending.disk.hold("f")
        ahead = Ahead(sending, held)
        await asyncio.sleep(12)
        assert ahead.progress > 5 * MIB
        errand = await sending.errand()
        sums = ContentSums(sending.disk, errand.held, sending.engine.combine, {})
        whole = asyncio.ensure_future(sending.engine.send(replace(errand, sums=sums)))
        await asyncio.sleep(seconds)
        ahead.task.cancel()
        await asyncio.wait({ahead.task})
        before = ahead.progress
        await whole
        assert ahead.progress == before, "it read on from a number that may mean another file by now"
        assert sending.bucket.objects["run1/f"].body == sending.disk.content("f")
        assert not sending.bucket.uploads
        sending.disk.close()

    run_virtual(story())


def test_an_upload_that_was_begun_anew_is_not_thrown_away_by_who_sent_ahead_before() -> None:
    async def story() -> None:
        sending = Sending(40 * MIB, slots=4)
        ahead = Ahead(sending, await sending.disk.hold("f"))
        await asyncio.sleep(12)
        whole = asyncio.ensure_future(sending.engine.send(await sending.errand()))  # without sums: nothing can be taken over
        await whole
        assert await ahead.task is Ending.WHOLE
        assert sending.bucket.objects["run1/f"].body == sending.disk.content("f")
        assert sending.verbs().count("abort") == 1
        assert not sending.bucket.uploads
        sending.disk.close()

    run_virtual(story())


@pytest.mark.parametrize("turns", range(12))
def test_who_is_cancelled_at_any_moment_of_taking_parts_over_keeps_all_that_went(turns: int) -> None:
    async def story() -> None:
        sending = Sending(40 * MIB, slots=4)
        ahead = Ahead(sending, await sending.disk.hold("f"))
        await asyncio.sleep(30)
        errand = await sending.errand()
        sums = ContentSums(sending.disk, errand.held, sending.engine.combine, {})
        whole = asyncio.ensure_future(sending.engine.send(replace(errand, sums=sums)))
        for _ in range(turns):
            await asyncio.sleep(0)
        whole.cancel()
        with pytest.raises(asyncio.CancelledError):
            await whole
        assert "abort" not in sending.verbs()
        assert len(sending.bucket.uploads) == 1
        ahead.task.cancel()
        await asyncio.wait({ahead.task})
        sending.disk.close()

    run_virtual(story())
