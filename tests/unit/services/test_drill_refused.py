"""Drills that are refused, or are under way when the daemon is stopped."""

from __future__ import annotations

import asyncio

import pytest

from spotguard.core.exit_status import ExitStatus
from spotguard.core.notice import NoticeKind
from spotguard.core.rehearsal import Asks
from spotguard.core.status import DaemonState
from spotguard.ports.daemon_control import DrillRefused
from spotguard.services.interruption.drain_course import DrainView
from tests.support.machine import save_hf
from tests.support.memory_store import Link
from tests.support.virtual_time import run_virtual
from tests.unit.services.drain_world import Stage
from tests.unit.services.drill_world import MB, control, drilled, saves_and_goes_on


@pytest.mark.parametrize("asks", [Asks.SAVE, Asks.STOP])
def test_a_drill_that_can_not_ask_is_refused(asks: Asks) -> None:
    async def story() -> None:
        stage = Stage(signal=None)
        async with stage.machine.on():
            await stage.committed(100)
            with pytest.raises(DrillRefused, match="is not set"):
                await control(stage).drill(60, asks=asks)
            assert stage.state() is DaemonState.WATCHING

    run_virtual(story())


def _is_drill(view: DrainView) -> bool:
    return view.interruption is not None and view.interruption.drill


def test_a_second_drill_and_one_during_a_drain_are_refused() -> None:
    async def story() -> None:
        stage = Stage()
        stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100)
            assert (await drilled(stage)).passed is False
            with pytest.raises(DrillRefused, match="a drill is held"):
                await control(stage).drill(60)
            await asyncio.sleep(10)
            stage.imds.give(NoticeKind.TERMINATE, seconds=60)
            await stage.machine.guard.drain.view.until(lambda v: v.state is DaemonState.DRAINING and not _is_drill(v))
            with pytest.raises(DrillRefused, match="the daemon is draining"):
                await control(stage).drill(60)

    run_virtual(story())


def test_the_cap_is_lifted_for_the_drill_and_what_the_link_showed_is_known_afterwards() -> None:
    async def story() -> None:
        stage = Stage(link=Link(5 * MB), checkpoint_signal="SIGUSR2", bytes_per_second=0.5 * MB)
        stage.trainer.start()
        saves_and_goes_on(stage, 200, seconds=1, size=40 * MB)
        async with stage.machine.on():
            await stage.committed(100, size=20 * MB)
            assert stage.machine.guard.throughput.of_the_link is None
            assert (await drilled(stage)).passed
            await asyncio.sleep(20)
            assert stage.machine.guard.throughput.of_the_link is not None
            assert stage.machine.link.cap == 0.5 * MB

    run_virtual(story())


@pytest.mark.parametrize("after_verdict", [False, True])
def test_a_daemon_that_is_stopped_during_a_drill_flushes_and_ends_as_ever(after_verdict: bool) -> None:
    async def story() -> None:
        stage = Stage(checkpoint_signal="SIGUSR2", bytes_per_second=1e9)
        stage.trainer.start()
        if after_verdict:
            saves_and_goes_on(stage, 200, seconds=1)
        async with stage.machine.on() as daemon:
            await stage.committed(100)
            await control(stage).drill(100)
            await (control(stage).drill_report(60) if after_verdict else asyncio.sleep(3))
            await asyncio.sleep(0.01)  # or else a scan of this very moment has been
            stage.machine.disk.write("events.out", b"loose")
            began = stage.clock.monotonic()
            stage.machine.life.stop()
            assert await asyncio.wait_for(daemon, 200) is ExitStatus.DONE
            assert stage.clock.monotonic() - began < 20
            assert "run1/events.out" in stage.bucket.objects

    run_virtual(story())


def test_a_drill_that_ends_while_the_daemon_is_being_stopped_takes_nothing_of_its_hurry_back() -> None:
    async def story() -> None:
        stage = Stage(link=Link(50_000), checkpoint_signal="SIGUSR2")
        stage.trainer.start()
        saves_and_goes_on(stage, 200, seconds=1)
        async with stage.machine.on() as daemon:
            await stage.committed(100)
            await control(stage).drill(100)
            await control(stage).drill_report(60)
            await asyncio.sleep(0.01)
            save_hf(stage.machine.disk, 300, size=500_000)  # under way for longer than the drill's verdict stands
            stage.machine.disk.write("events.out", b"loose")
            began = stage.clock.monotonic()
            stage.machine.life.stop()
            assert await asyncio.wait_for(daemon, 200) is ExitStatus.DONE
            assert stage.clock.monotonic() - began < 40
            assert "run1/events.out" in stage.bucket.objects

    run_virtual(story())
