"""The upload cap, and how long a request may take."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotguard.adapters.s3.patience import Patience
from spotguard.adapters.s3.upload_cap import UploadCap
from tests.support.virtual_time import run_virtual

MIB = 1 << 20


class Pacing:
    """What the connections are told, in order."""

    def __init__(self) -> None:
        self.rates: list[float | None] = []

    def set_rate(self, bytes_per_second: float | None) -> None:
        self.rates.append(bytes_per_second)


def capped(bytes_per_second: float | None = MIB) -> UploadCap:
    cap = UploadCap(Pacing())
    cap.set_rate(bytes_per_second)
    return cap


async def begun_at(cap: UploadCap, size: int) -> float:
    """When this body began; its connection takes as long as the cap wants."""
    loop = asyncio.get_running_loop()
    await cap.admit(size)
    began = loop.time()
    await asyncio.sleep(cap.seconds(size))
    return began


def test_bodies_begin_one_after_the_other_each_when_those_before_had_their_time() -> None:
    async def story() -> list[float]:
        cap = capped()
        return await asyncio.gather(begun_at(cap, MIB), begun_at(cap, 2 * MIB), begun_at(cap, MIB))

    assert run_virtual(story()) == [0.0, 1.0, 3.0]


@given(sizes=st.lists(st.integers(1, 32 * MIB), min_size=2, max_size=60), pauses=st.lists(st.floats(0, 20), min_size=60, max_size=60))
def test_over_any_stretch_of_time_no_more_begins_than_the_cap_allows_and_one_body(sizes: list[int], pauses: list[float]) -> None:
    async def story() -> list[tuple[float, int]]:
        cap, begun = capped(), []

        async def send(size: int, pause: float) -> None:
            await asyncio.sleep(pause)
            begun.append((await begun_at(cap, size), size))

        await asyncio.gather(*(send(size, pause) for size, pause in zip(sizes, pauses, strict=False)))
        return sorted(begun)

    begun = run_virtual(story())
    for first, (start, _) in enumerate(begun):
        for last in range(first + 1, len(begun)):
            assert sum(size for _, size in begun[first:last]) <= MIB * (begun[last][0] - start) * (1 + 1e-9) + 1


def test_with_enough_to_send_all_of_the_cap_is_used() -> None:
    async def story() -> float:
        cap, loop = capped(), asyncio.get_running_loop()
        await asyncio.gather(*(begun_at(cap, size) for size in [16 * MIB, 20_000, 5 * MIB] * 20))
        return loop.time()

    assert run_virtual(story()) == pytest.approx(20 * (21 + 20_000 / MIB))


def test_an_idle_link_saves_up_nothing() -> None:
    async def story() -> list[float]:
        cap = capped()
        await begun_at(cap, MIB)
        await asyncio.sleep(99)
        return await asyncio.gather(begun_at(cap, 2 * MIB), begun_at(cap, MIB))

    assert run_virtual(story()) == [100.0, 102.0]


def test_a_changed_or_lifted_cap_holds_at_once_for_those_who_wait_and_those_under_way() -> None:
    async def story() -> tuple[list[float], list[float | None]]:
        pacing = Pacing()
        cap = UploadCap(pacing)
        cap.set_rate(1.0 * MIB)
        waiting = [asyncio.create_task(begun_at(cap, 10 * MIB)) for _ in range(4)]
        await asyncio.sleep(5)
        cap.set_rate(10.0 * MIB)  # half of the first body is left: half a second at the new rate
        await asyncio.sleep(1)
        cap.set_rate(None)
        return [await task for task in waiting], pacing.rates

    begun, told = run_virtual(story())
    assert begun == pytest.approx([0.0, 5.5, 6.0, 6.0])
    assert told == [MIB, 10 * MIB, None]


def test_a_cancelled_wait_costs_the_others_no_time() -> None:
    async def story() -> float:
        cap = capped()
        first = asyncio.create_task(begun_at(cap, MIB))
        await asyncio.sleep(0)
        given_up = asyncio.create_task(begun_at(cap, 50 * MIB))
        last = asyncio.create_task(begun_at(cap, MIB))
        await asyncio.sleep(0.5)
        given_up.cancel()
        await first
        return await last

    assert run_virtual(story()) == 1.0


def test_what_a_failed_body_did_not_send_is_for_whoever_waits() -> None:
    async def story() -> list[float]:
        cap = capped()
        ticket = await cap.admit(10 * MIB)
        waiting = [asyncio.create_task(begun_at(cap, MIB)) for _ in range(2)]
        await asyncio.sleep(1)
        cap.give_back(8 * MIB, ticket)
        return [await task for task in waiting]

    assert run_virtual(story()) == [2.0, 3.0]


def test_a_body_that_fails_when_its_time_is_over_gives_nothing_back() -> None:
    async def story() -> list[float]:
        cap = capped()
        ticket = await cap.admit(MIB)
        waiting = [asyncio.create_task(begun_at(cap, MIB)) for _ in range(2)]
        await asyncio.sleep(1.5)
        cap.give_back(MIB, ticket)
        return [await task for task in waiting]

    assert run_virtual(story()) == [1.0, 2.0]


@pytest.mark.parametrize(("rate", "began"), [(10.0, 2.0), (0.1, 12.0)])
def test_what_is_given_back_after_a_change_of_the_rate_is_what_is_left_at_the_new_one(rate: float, began: float) -> None:
    async def story() -> float:
        cap = capped()
        ticket = await cap.admit(10 * MIB)
        await asyncio.sleep(1)
        cap.set_rate(rate * MIB)
        await asyncio.sleep(began - 1)
        cap.give_back(9 * MIB, ticket)  # at ten times the rate all of its time is over by now, at a tenth of it 79 s are left
        return await begun_at(cap, MIB)

    assert run_virtual(story()) == began


def test_what_is_given_back_is_not_taken_from_a_body_that_has_begun_since() -> None:
    async def story() -> float:
        cap = capped()
        ticket = await cap.admit(10 * MIB)
        await asyncio.sleep(1)
        cap.set_rate(10.0 * MIB)
        await asyncio.sleep(1)
        await cap.admit(100 * MIB)
        cap.give_back(9 * MIB, ticket)
        return await begun_at(cap, MIB)

    assert run_virtual(story()) == 12.0


def test_patience_follows_what_the_link_does() -> None:
    patience = Patience(20.0)
    assert patience.seconds(0) == 20.0
    assert patience.seconds(16 * MIB) == 36.0
    patience.succeeded(16 * MIB, 0.1)
    assert patience.seconds(16 * MIB) < 23.0
    patience.succeeded(16 * MIB, 16.0)
    assert patience.seconds(16 * MIB) == 20.0 + 16 * 8
    patience.succeeded(100, 10.0)
    assert patience.seconds(16 * MIB) == 20.0 + 16 * 8


def test_a_slow_link_that_lives_gets_through_after_some_tries() -> None:
    patience, needed, tries = Patience(20.0), 16 * MIB / 200_000, 1
    while patience.seconds(16 * MIB) < needed:
        patience.gave_up(16 * MIB, patience.seconds(16 * MIB))
        tries += 1
    assert tries <= 4


def test_parts_that_are_given_up_together_count_once() -> None:
    patience = Patience(20.0)
    limit = patience.seconds(16 * MIB)
    for _ in range(8):
        patience.gave_up(16 * MIB, limit)
    assert patience.seconds(16 * MIB) == 20.0 + 2 * 16
