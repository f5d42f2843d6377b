"""From a notice to the verdict (each kind of notice), in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from spotguard.core.deadline import InterruptionPolicy
from spotguard.core.notice import NoticeKind
from spotguard.core.problem import ProblemCode
from spotguard.core.status import DaemonState
from tests.support.machine import Machine, save_hf
from tests.support.memory_trainer import MemoryJournal
from tests.support.virtual_time import run_virtual
from tests.unit.services.drain_world import Stage


@pytest.mark.parametrize("kind", [NoticeKind.TERMINATE, NoticeKind.STOP, NoticeKind.SCALE_IN])
def test_a_notice_signals_the_trainer_and_its_final_save_is_committed(kind: NoticeKind) -> None:
    async def story() -> None:
        stage = Stage()
        process = stage.trainer.start()
        stage.saves_then_exits(200, seconds=10)
        async with stage.machine.on():
            await stage.committed(100)
            stage.imds.give(kind, seconds=None if kind is NoticeKind.SCALE_IN else 120)
            assert await stage.verdict() == "safe"
            assert stage.trainer.signals == [(process.pid, "SIGUSR1")]
            assert stage.machine.states()["checkpoint-200"] == "committed"
            assert stage.state() is DaemonState.SAFE
            reasons = {m["name"]: m["reason"] for m in stage.machine.manifests().values()}
            assert reasons == {"checkpoint-100": "save", "checkpoint-200": "interruption"}
            await asyncio.sleep(60)
            assert not stage.machine.guard.problems.stands(ProblemCode.TRAINER_NOT_FOUND), "it ended as it was told"

    run_virtual(story())


def test_the_signal_goes_out_in_the_same_moment_as_the_poll_that_saw_the_notice() -> None:
    async def story() -> None:
        stage = Stage()
        stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100)
            stage.imds.give(NoticeKind.TERMINATE, seconds=120)
            await stage.machine.guard.drain.view.until(lambda v: v.state is DaemonState.DRAINING)
            await asyncio.sleep(0.05)
            assert stage.trainer.sent[0].at - stage.imds.polls[-1] <= 0.05

    run_virtual(story())


def test_hibernate_signals_nobody_and_leaves_twenty_seconds() -> None:
    async def story() -> None:
        stage = Stage()
        stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100)
            stage.imds.give(NoticeKind.HIBERNATE, seconds=120)
            assert await stage.verdict() == "safe"
            assert stage.trainer.signals == []
            deadline = stage.machine.guard.monitor.state.value.current
            assert deadline is not None
            assert deadline.deadline - stage.imds.polls[-1] <= 20

    run_virtual(story())


def test_a_rebalance_asks_for_one_more_checkpoint_and_the_state_stays_watching() -> None:
    async def story() -> None:
        stage = Stage(checkpoint_signal="SIGUSR2")
        process = stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100)
            await asyncio.sleep(6)
            stage.imds.give(NoticeKind.REBALANCE)
            await asyncio.sleep(10)
            assert stage.trainer.signals == [(process.pid, "SIGUSR2")]
            assert stage.state() is DaemonState.WATCHING
            shown = stage.machine.report.interruption()
            assert shown is not None
            assert shown.kind is NoticeKind.REBALANCE
            assert stage.machine.announcements.notice is not None
            stage.imds.withdraw(NoticeKind.REBALANCE)
            await asyncio.sleep(15)
            assert stage.machine.report.interruption() is None
            assert stage.machine.announcements.notice is None

    run_virtual(story())


def test_a_rebalance_that_is_configured_to_drain_drains() -> None:
    async def story() -> None:
        stage = Stage(policy=InterruptionPolicy(on_rebalance="drain"))
        stage.trainer.start()
        stage.saves_then_exits(200, seconds=3)
        async with stage.machine.on():
            await stage.committed(100)
            stage.imds.give(NoticeKind.REBALANCE)
            assert await stage.verdict() == "safe"
            assert stage.machine.states()["checkpoint-200"] == "committed"

    run_virtual(story())


def test_maintenance_is_shown_at_once_and_drains_two_minutes_ahead() -> None:
    async def story() -> None:
        stage = Stage()
        process = stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100)
            stage.imds.give(NoticeKind.MAINTENANCE, seconds=600)
            await asyncio.sleep(10)
            assert stage.state() is DaemonState.WATCHING
            assert stage.machine.report.interruption() is not None
            await asyncio.sleep(460)
            assert stage.trainer.signals == []
            await asyncio.sleep(20)
            assert stage.trainer.signals == [(process.pid, "SIGUSR1")]
            assert stage.state() is DaemonState.DRAINING

    run_virtual(story())


def test_a_restarted_daemon_does_not_signal_again_for_the_same_notice() -> None:
    async def story() -> None:
        journal = MemoryJournal()
        stage = Stage(journal=journal)
        process = stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100)
            stage.imds.give(NoticeKind.TERMINATE, seconds=120)
            await asyncio.sleep(10)
        again = Machine(
            stage.bucket,
            clock=stage.clock,
            disk=stage.machine.disk,
            metadata=stage.imds,
            trainer=stage.trainer,
            journal=journal,
            signal="SIGUSR1",
        )
        async with again.on():
            await asyncio.sleep(10)
            assert again.report.state() is DaemonState.DRAINING
            save_hf(again.disk, 200)
            stage.trainer.exit(process)
            async with asyncio.timeout(60):
                await again.guard.drain.view.until(lambda v: v.state is DaemonState.SAFE)
            assert again.states()["checkpoint-200"] == "committed"
        assert stage.trainer.signals == [(process.pid, "SIGUSR1")]

    run_virtual(story())


def test_a_restarted_daemon_knows_the_final_save_of_a_trainer_that_stays() -> None:
    """Signalled by the daemon that ran before: when that was is the evidence for what was saved after it."""

    async def story() -> None:
        journal = MemoryJournal()
        stage = Stage(journal=journal)
        stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100)
            stage.imds.give(NoticeKind.TERMINATE, seconds=120)
            await asyncio.sleep(10)
            save_hf(stage.machine.disk, 200)
        again = Machine(
            stage.bucket,
            clock=stage.clock,
            disk=stage.machine.disk,
            metadata=stage.imds,
            trainer=stage.trainer,
            journal=journal,
            signal="SIGUSR1",
        )
        async with again.on():
            async with asyncio.timeout(60):
                await again.guard.drain.view.until(lambda v: v.state is DaemonState.SAFE)
            assert again.states()["checkpoint-200"] == "committed"
            assert again.report.status().trainer.signalled_at is not None

    run_virtual(story())
