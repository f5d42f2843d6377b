"""The small services: destination checks, the vigil's problems, whom to signal, one pass, loose files."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from spotguard.core.checkpoint import CheckpointState
from spotguard.core.exposure import Save
from spotguard.core.problem import ProblemCode
from spotguard.core.run_keys import RunKeys
from spotguard.core.status import CheckpointStatus
from spotguard.ports.object_store import StoreDenied, StoreUnavailable
from spotguard.services.problem_board import ProblemBoard
from spotguard.services.published import Published
from spotguard.services.replication_view import ReplicationView
from spotguard.services.run_checks import NestedRun, probe_conditions, refuse_nested
from spotguard.services.single_pass import SinglePass
from spotguard.services.store_health import StoreHealth
from spotguard.services.throughput import Throughput
from spotguard.services.trainer_signal import TrainerSignal
from spotguard.services.vigil import Vigil
from tests.support.faulty_store import Fault, Faults, FaultyStore
from tests.support.machine import KEYS, Machine
from tests.support.memory_store import MemoryBucket, MemoryStore
from tests.support.memory_trainer import MemoryJournal, MemoryTrainer
from tests.support.memory_volume import MemoryVolume
from tests.support.virtual_time import VirtualClock, run_virtual


@pytest.mark.parametrize(
    ("there", "prefix", "refused"),
    [
        ("team/.spotguard/claims/00000001.json", "team/run1", True),
        (".spotguard/manifests/checkpoint-1/00000001-20261123T200000Z.json", "team/run1", True),
        ("team/run1/sub/.spotguard/claims/00000001.json", "team/run1", True),
        ("team/run1/.spotguard/claims/00000001.json", "team/run1", False),
        ("team/run10/.spotguard/claims/00000001.json", "team/run1", False),
        ("team/run1/model.bin", "team/run1", False),
    ],
)
def test_a_prefix_inside_or_around_another_run_is_refused(there: str, prefix: str, refused: bool) -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        bucket.write("put", there, b"x", {}, only_new=False)
        check = refuse_nested(MemoryStore(bucket, clock), RunKeys("bucket", prefix))
        if refused:
            with pytest.raises(NestedRun):
                await check
        else:
            await check

    run_virtual(story())


def test_a_policy_for_the_prefix_alone_does_not_keep_the_run_from_beginning() -> None:
    class Narrow(MemoryStore):
        async def list(self, prefix: str, **options: Any) -> Any:
            if not prefix.startswith("team/run1/"):
                raise StoreDenied(f"list {prefix}: access denied")
            return await super().list(prefix, **options)

    async def story() -> None:
        clock = VirtualClock()
        await refuse_nested(Narrow(MemoryBucket(clock), clock), RunKeys("bucket", "team/run1"))

    run_virtual(story())


@pytest.mark.parametrize("heeds", [True, False])
def test_a_store_that_ignores_conditions_is_found_out(heeds: bool) -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock, conditional_writes=heeds)
        problems = ProblemBoard(clock)
        assert await probe_conditions(MemoryStore(bucket, clock), KEYS, problems) is heeds
        assert problems.stands(ProblemCode.NO_CONDITIONAL_WRITES) is not heeds
        assert not bucket.objects

    run_virtual(story())


def test_credentials_that_may_not_delete_are_enough() -> None:
    async def story() -> None:
        clock = VirtualClock()
        faults = Faults()
        faults.plan("delete", Fault.DENIED)
        assert await probe_conditions(FaultyStore(MemoryStore(MemoryBucket(clock), clock), faults), KEYS, ProblemBoard(clock))
        assert faults.fired[Fault.DENIED] == 1

    run_virtual(story())


class Watched:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.problems = ProblemBoard(self.clock)
        self.disk = MemoryVolume(self.clock)
        self.view = Published(ReplicationView())
        self.saves: list[Save] = []
        self.rate: float | None = None
        self.offset: float | None = None
        self.vigil = Vigil(
            volume=self.disk,
            view=self.view,
            saves=lambda: self.saves,
            throughput=lambda: self.rate,
            clock_offset=lambda: self.offset,
            problems=self.problems,
            clock=self.clock,
            margin_seconds=5.0,
            watch_dir="/out",
        )

    async def stands(self, code: ProblemCode, running_seconds: float = 0.0) -> bool:
        await self.vigil.look(running_seconds)
        return self.problems.stands(code)

    def shows(self, size: int) -> None:
        status = CheckpointStatus(
            name="checkpoint-1",
            stage="",
            step=1,
            state=CheckpointState.COMMITTED,
            files=1,
            bytes=size,
            uploaded_bytes=size,
            generation=1,
            saved_at=None,
            committed_at=None,
            why=None,
        )
        self.view.publish(ReplicationView(checkpoints=(status,)))


def test_no_checkpoint_for_half_an_hour_is_a_problem_until_one_comes() -> None:
    async def story() -> None:
        watched = Watched()
        assert not await watched.stands(ProblemCode.NO_CHECKPOINT_SEEN, 1700)
        assert await watched.stands(ProblemCode.NO_CHECKPOINT_SEEN, 1900)
        watched.shows(1)
        assert not await watched.stands(ProblemCode.NO_CHECKPOINT_SEEN, 1915)

    run_virtual(story())


def test_a_commit_that_is_overdue_is_a_problem_until_the_next_one() -> None:
    async def story() -> None:
        watched = Watched()
        began = watched.clock.wall().timestamp()
        watched.saves = [Save(began + at, began + at + 1, 10, at) for at in (0, 100, 200)]
        await asyncio.sleep(300)
        assert not await watched.stands(ProblemCode.COMMIT_OVERDUE)
        await asyncio.sleep(300)
        assert await watched.stands(ProblemCode.COMMIT_OVERDUE)
        watched.saves.append(Save(began + 598, began + 599, 10, 600))
        assert not await watched.stands(ProblemCode.COMMIT_OVERDUE)

    run_virtual(story())


def test_what_can_not_leave_within_a_notice_is_a_problem_while_the_link_is_slow() -> None:
    async def story() -> None:
        watched = Watched()
        watched.saves, watched.rate = [Save(0, 10, 10_000_000_000, 1)], 10_000_000.0
        assert await watched.stands(ProblemCode.DOES_NOT_FIT)
        watched.rate = 1_000_000_000.0
        assert not await watched.stands(ProblemCode.DOES_NOT_FIT)

    run_virtual(story())


def test_a_clock_that_is_off_is_a_problem_until_it_is_set() -> None:
    async def story() -> None:
        watched = Watched()
        for offset, stands in ((None, False), (-45.0, True), (2.0, False), (31.0, True)):
            watched.offset = offset
            assert await watched.stands(ProblemCode.CLOCK_OFF) is stands

    run_virtual(story())


def test_a_disk_with_room_for_less_than_two_checkpoints_is_a_problem() -> None:
    async def story() -> None:
        watched = Watched()
        watched.shows(1000)
        watched.disk.free = 1500
        assert await watched.stands(ProblemCode.DISK_LOW)
        watched.disk.free = 5000
        assert not await watched.stands(ProblemCode.DISK_LOW)

    run_virtual(story())


def test_each_process_is_signalled_once_per_notice_and_what_is_not_ours_is_a_problem() -> None:
    async def story() -> None:
        clock, trainer, journal = VirtualClock(), MemoryTrainer(), MemoryJournal()
        problems = ProblemBoard(clock)
        signals = TrainerSignal(trainer, journal, problems, clock)
        ours, foreign = trainer.start(), trainer.start()
        trainer.refuse(foreign)
        for _ in range(2):
            await signals.send([ours, foreign], "SIGUSR1", "notice-1")
        assert trainer.signals == [(ours.pid, "SIGUSR1")]
        assert problems.stands(ProblemCode.CANNOT_SIGNAL)
        assert signals.awaited == {ours}
        again = TrainerSignal(trainer, journal, problems, clock)
        await again.send([ours], "SIGUSR1", "notice-1")
        assert len(trainer.sent) == 1
        assert await again.still_running()
        trainer.exit(ours)
        assert not await again.still_running()
        reused = trainer.start(pid=ours.pid, started=999.0)
        await again.send([ours], "SIGUSR1", "notice-2")
        assert trainer.signals == [(ours.pid, "SIGUSR1")]
        await again.send([reused], "SIGUSR1", "notice-2")
        assert len(trainer.sent) == 2

    run_virtual(story())


class Silent:
    def start(self, total: int, what: str) -> None: ...

    def advance(self, size: int) -> None: ...

    def done(self) -> None: ...


def test_one_pass_raises_what_stands_in_its_way_and_never_says_saved() -> None:
    async def story() -> None:
        clock = VirtualClock()
        health = StoreHealth(ProblemBoard(clock))
        view = Published(ReplicationView(fully_observed_at=5.0, uncommitted=("checkpoint-1",), recognised=True))
        one = SinglePass(view, health, Throughput(clock), Silent())
        task = asyncio.ensure_future(one.finish(1.0, patience_seconds=0.0))
        await asyncio.sleep(5)
        assert not task.done()
        health.failed(StoreUnavailable("no answer"))
        with pytest.raises(StoreUnavailable):
            await task

    run_virtual(story())


def test_loose_files_that_grow_are_sent_seldom_and_forgotten_when_they_go() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        machine = Machine(bucket, clock=clock)
        async with machine.on():
            machine.disk.write("events.out", b"x" * 1000)
            await asyncio.sleep(40)
            for second in range(600):
                machine.disk.write("events.out", b"x" * (1000 + second))
                machine.guard.schedule.hint("events.out")
                await asyncio.sleep(1)
            sent = sum(key == "run1/events.out" for _, key in bucket.log)
            assert 2 <= sent <= 11
            machine.disk.delete("events.out")
            await asyncio.sleep(60)
            assert len(bucket.objects["run1/events.out"].body) >= 1000

    run_virtual(story())
