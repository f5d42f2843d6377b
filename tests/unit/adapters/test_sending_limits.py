"""The upload cap, and how long a request may take."""

from __future__ import annotations

import asyncio

from spotguard.adapters.patience import Patience
from spotguard.adapters.upload_cap import UploadCap
from tests.support.virtual_time import run_virtual

MIB = 1 << 20


def test_the_cap_is_shared_in_turn_and_never_exceeded() -> None:
    async def story() -> list[float]:
        cap, loop = UploadCap(), asyncio.get_running_loop()
        cap.set_rate(MIB)

        async def send(size: int) -> float:
            await cap.admit(size)
            return loop.time()

        return await asyncio.gather(send(MIB), send(2 * MIB), send(MIB))

    assert run_virtual(story()) == [1.0, 3.0, 4.0]


def test_an_idle_link_saves_up_nothing() -> None:
    async def story() -> float:
        cap, loop = UploadCap(), asyncio.get_running_loop()
        cap.set_rate(MIB)
        await cap.admit(MIB)
        await asyncio.sleep(100)
        began = loop.time()
        await cap.admit(2 * MIB)
        return loop.time() - began

    assert run_virtual(story()) == 2.0


def test_a_changed_or_lifted_cap_holds_at_once_for_those_who_wait() -> None:
    async def story() -> list[float]:
        cap, loop = UploadCap(), asyncio.get_running_loop()
        cap.set_rate(1.0)

        async def send() -> float:
            await cap.admit(10 * MIB)
            return loop.time()

        waiting = [asyncio.create_task(send()) for _ in range(2)]
        await asyncio.sleep(1)
        cap.set_rate(10 * MIB)
        await asyncio.sleep(1.5)
        cap.set_rate(None)
        return [await task for task in waiting]

    assert run_virtual(story()) == [2.0, 2.5]


def test_a_cancelled_wait_leaves_the_others_alone() -> None:
    async def story() -> float:
        cap, loop = UploadCap(), asyncio.get_running_loop()
        cap.set_rate(MIB)
        given_up = asyncio.create_task(cap.admit(MIB))
        await asyncio.sleep(0.5)
        given_up.cancel()
        await cap.admit(MIB)
        return loop.time()

    assert run_virtual(story()) <= 2.0


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
        patience.gave_up()
        tries += 1
    assert tries <= 4
