"""The measured rate is that of the link: from the first body on, with idle time, small files, failures and a cap."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotguard.services.upload.throughput import Throughput
from tests.support.virtual_time import VirtualClock, run_virtual

MIB = 1 << 20


class Sending:
    """Bodies over one link that they share, each with the store's latency on top."""

    def __init__(self, bytes_per_second: float, *, latency: float = 0.0) -> None:
        self.throughput = Throughput(VirtualClock())
        self.rate = bytes_per_second
        self.latency = latency
        self._left: dict[int, float] = {}
        self._serial = 0

    async def body(self, size: int, *, fails: bool = False, had_room: bool = False) -> None:
        with self.throughput.sending(size, had_room=had_room):
            await self._carry(size)
            await asyncio.sleep(self.latency)
            if fails:
                raise ConnectionResetError

    async def side_by_side(self, sizes: list[int], slots: int = 8) -> None:
        waiting = iter(sizes)

        async def slot() -> None:
            for size in waiting:
                await self.body(size)

        await asyncio.gather(*(slot() for _ in range(slots)))

    async def _carry(self, size: int) -> None:
        self._serial += 1
        number = self._serial
        self._left[number] = size
        while self._left[number] > 0.5:
            step = 0.01 * (16 * MIB) / self.rate
            share = self.rate / len(self._left)
            step = min(step, self._left[number] / share)
            await asyncio.sleep(step)
            self._left[number] -= share * step
        del self._left[number]


@settings(max_examples=25)
@given(
    rate=st.sampled_from([2.0 * MIB, 20.0 * MIB, 200.0 * MIB]),
    count=st.integers(1, 24),
    slots=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_whatever_goes_side_by_side_the_estimate_is_the_links_rate(rate: float, count: int, slots: int, seed: int) -> None:
    sizes = [random.Random(seed).choice([16 * MIB, 16 * MIB, 5 * MIB]) for _ in range(count)]

    async def story() -> float | None:
        sending = Sending(rate)
        await sending.side_by_side(sizes, slots)
        return sending.throughput.estimate

    assert run_virtual(story()) == pytest.approx(rate, rel=0.35)


def test_the_first_of_many_parts_that_ends_tells_the_rate_of_all() -> None:
    async def story() -> float | None:
        sending = Sending(8.0 * MIB)
        parts = [asyncio.create_task(sending.body(16 * MIB)) for _ in range(8)]
        assert sending.throughput.estimate is None
        await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        return sending.throughput.estimate

    assert run_virtual(story()) == pytest.approx(8 * MIB, rel=0.1)


def test_idle_time_between_uploads_is_no_part_of_it() -> None:
    async def story() -> float | None:
        sending = Sending(20.0 * MIB)
        for _ in range(5):
            await sending.side_by_side([16 * MIB] * 4)
            await asyncio.sleep(600)
        return sending.throughput.estimate

    assert run_virtual(story()) == pytest.approx(20 * MIB, rel=0.1)


def test_small_files_alone_tell_nothing_of_the_link_and_beside_large_ones_spoil_nothing() -> None:
    async def story() -> tuple[float | None, float | None]:
        sending = Sending(100.0 * MIB, latency=0.05)
        await sending.side_by_side([20_000] * 100)
        early = sending.throughput.of_the_link
        await asyncio.gather(sending.side_by_side([16 * MIB] * 30, 4), sending.side_by_side([20_000] * 100, 4))
        return early, sending.throughput.of_the_link

    early, later = run_virtual(story())
    assert early is None
    assert later == pytest.approx(100 * MIB, rel=0.35)


def test_a_run_of_nothing_but_small_files_is_measured_by_them_in_the_end() -> None:
    async def story() -> float | None:
        sending = Sending(100.0 * MIB, latency=0.05)
        await sending.side_by_side([100_000] * 400)
        return sending.throughput.of_the_link

    assert run_virtual(story()) == pytest.approx(8 * 100_000 / 0.06, rel=0.3)


def test_the_estimate_follows_a_link_that_changes_within_some_parts() -> None:
    async def story() -> list[float | None]:
        sending = Sending(100.0 * MIB)
        await sending.side_by_side([16 * MIB] * 40)
        seen = [sending.throughput.estimate]
        sending.rate = 5.0 * MIB
        await sending.side_by_side([16 * MIB] * 8)
        return [*seen, sending.throughput.estimate]

    fast, slow = run_virtual(story())
    assert fast == pytest.approx(100 * MIB, rel=0.1)
    assert slow == pytest.approx(5 * MIB, rel=0.35)


def test_the_estimate_falls_while_nothing_arrives_any_more() -> None:
    async def story() -> float | None:
        sending = Sending(100.0 * MIB)
        await sending.side_by_side([16 * MIB] * 8)
        sending.rate = 0.001
        stuck = [asyncio.create_task(sending.body(16 * MIB)) for _ in range(8)]
        await asyncio.sleep(60)
        found = sending.throughput.estimate
        for task in stuck:
            task.cancel()
        return found

    found = run_virtual(story())
    assert found is not None
    assert found <= 8 * 16 * MIB / 59


def test_what_was_sent_no_faster_than_it_was_written_is_no_measure_of_the_link_unless_there_is_no_other() -> None:
    async def story() -> None:
        sending = Sending(100.0 * MIB, latency=1.0)
        for _ in range(5):
            await sending.body(16 * MIB, had_room=True)
        assert sending.throughput.estimate == pytest.approx(16 * MIB / 1.16, rel=0.05)
        await sending.side_by_side([16 * MIB] * 32)
        of_the_link = sending.throughput.estimate
        for _ in range(50):
            await sending.body(16 * MIB, had_room=True)
        assert sending.throughput.estimate == of_the_link

    run_virtual(story())


def test_a_body_that_did_not_arrive_is_not_measured() -> None:
    async def story() -> float | None:
        sending = Sending(10.0 * MIB)
        with pytest.raises(ConnectionResetError):
            await sending.body(16 * MIB, fails=True)
        return sending.throughput.estimate

    assert run_virtual(story()) is None


async def _under_cap(cap: float, link: float) -> Throughput:
    """Sent for a while with this cap on that link."""
    sending = Sending(min(cap, link))
    sending.throughput.limited(cap)
    await sending.side_by_side([16 * MIB] * 16)
    return sending.throughput


def test_what_was_measured_under_a_cap_that_held_says_nothing_of_the_link() -> None:
    async def story() -> Throughput:
        throughput = await _under_cap(cap=2.0 * MIB, link=500.0 * MIB)
        assert throughput.estimate == pytest.approx(2 * MIB, rel=0.2)
        assert throughput.of_the_link is None
        throughput.limited(None)
        assert throughput.estimate is None
        return throughput

    run_virtual(story())


def test_a_link_slower_than_the_cap_is_known_also_after_the_lifting() -> None:
    async def story() -> None:
        throughput = await _under_cap(cap=100.0 * MIB, link=4.0 * MIB)
        for cap in (100.0 * MIB, None):
            throughput.limited(cap)
            assert throughput.of_the_link == pytest.approx(4 * MIB, rel=0.2)

    run_virtual(story())


def test_what_a_lifted_cap_showed_of_the_link_is_remembered_under_the_cap() -> None:
    async def story() -> None:
        sending = Sending(50.0 * MIB)
        await sending.side_by_side([16 * MIB] * 8)
        sending.throughput.limited(1.0 * MIB)
        assert sending.throughput.of_the_link == pytest.approx(50 * MIB, rel=0.1)
        assert sending.throughput.estimate == 1 * MIB

    run_virtual(story())
