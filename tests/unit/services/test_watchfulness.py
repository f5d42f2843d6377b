"""The small services: destination checks, the vigil's problems, whom to signal, one pass, loose files."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from spotguard.core.checkpoint import CheckpointState
from spotguard.core.problem import ProblemCode
from spotguard.core.run_keys import RunKeys
from spotguard.core.status import CheckpointStatus
from spotguard.ports.object_store import StoreDenied, StoreUnavailable
from spotguard.services.interruption.prospects import Prospects
from spotguard.services.interruption.trainer_signal import TrainerSignal
from spotguard.services.interruption.trainer_watch import TrainerWatch
from spotguard.services.problem_board import ProblemBoard
from spotguard.services.published import Published
from spotguard.services.replication.replication_view import ReplicationView, SaveTimes
from spotguard.services.run.run_checks import NestedRun, probe_conditions, refuse_nested
from spotguard.services.single_pass import SinglePass
from spotguard.services.store_health import StoreHealth
from spotguard.services.upload.throughput import Throughput
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
    def __init__(self, *, configured: bool = False) -> None:
        self.clock = VirtualClock()
        self.problems = ProblemBoard(self.clock)
        self.disk = MemoryVolume(self.clock)
        self.view = Published(ReplicationView())
        self.trainer = MemoryTrainer(configured=configured)
        self.trainers = TrainerWatch(self.trainer, self.problems, self.clock)
        self.throughput = Throughput(self.clock)
        self.offset: float | None = None
        self.prospects = Prospects(self.view, self.throughput, self.trainers, self.clock, margin_seconds=5.0)
        self.vigil = Vigil(
            volume=self.disk,
            view=self.view,
            prospects=self.prospects,
            clock_offset=lambda: self.offset,
            problems=self.problems,
            clock=self.clock,
            watch_dir="/out",
        )

    async def stands(self, code: ProblemCode, running_seconds: float = 1e6) -> bool:
        await self.trainers.refresh()
        await self.vigil.look(running_seconds)
        return self.problems.stands(code)

    async def sends_at(self, bytes_per_second: float) -> None:
        for _ in range(2):
            with self.throughput.sending(int(16 * bytes_per_second)):
                await asyncio.sleep(16)

    def saved(self, *ages: float, size: int = 10, seconds: float = 1.0) -> None:
        """There are checkpoints that were committed, the last write so many seconds ago."""
        now = self.clock.wall().timestamp()
        self.view.publish(ReplicationView(saves=tuple(_save(n, now - age, size, seconds) for n, age in enumerate(ages))))

    def shows(self, size: int, *, waiting: bool = False) -> None:
        """A checkpoint on disk, committed or `waiting` to be; what was committed before stays."""
        status = CheckpointStatus(
            name="checkpoint-1",
            stage="",
            step=1,
            state=CheckpointState.COMPLETE if waiting else CheckpointState.COMMITTED,
            files=1,
            bytes=size,
            uploaded_bytes=size,
            generation=1,
            saved_at=None,
            committed_at=None,
            why=None,
        )
        uncommitted = (status.name,) if waiting else ()
        self.view.publish(replace(self.view.value, checkpoints=(status,), uncommitted=uncommitted))


def _save(number: int, ended: float, size: int, seconds: float) -> SaveTimes:
    return SaveTimes(f"checkpoint-{number}", int((ended - seconds) * 1e9), int(ended * 1e9), size, seconds)


def test_no_checkpoint_for_half_an_hour_is_a_problem_until_one_comes() -> None:
    async def story() -> None:
        watched = Watched()
        assert not await watched.stands(ProblemCode.NO_CHECKPOINT_SEEN, 1700)
        assert await watched.stands(ProblemCode.NO_CHECKPOINT_SEEN, 1900)
        watched.shows(1)
        assert not await watched.stands(ProblemCode.NO_CHECKPOINT_SEEN, 1915)

    run_virtual(story())


def test_where_a_trainer_is_known_its_own_time_counts_and_none_is_missed_while_none_runs() -> None:
    async def story() -> None:
        watched = Watched(configured=True)
        assert not await watched.stands(ProblemCode.NO_CHECKPOINT_SEEN, 9999)
        process = watched.trainer.start(started=watched.clock.wall().timestamp())
        await asyncio.sleep(1700)
        assert not await watched.stands(ProblemCode.NO_CHECKPOINT_SEEN, 11_000)
        await asyncio.sleep(200)
        assert await watched.stands(ProblemCode.NO_CHECKPOINT_SEEN, 11_200)
        watched.trainer.exit(process)
        assert not await watched.stands(ProblemCode.NO_CHECKPOINT_SEEN, 11_300)

    run_virtual(story())


def test_a_commit_is_overdue_after_three_of_the_usual_intervals_until_the_next_one() -> None:
    async def story() -> None:
        watched = Watched()
        watched.saved(500, 400, 299)
        assert not await watched.stands(ProblemCode.COMMIT_OVERDUE)
        watched.saved(502, 402, 302)
        assert await watched.stands(ProblemCode.COMMIT_OVERDUE)
        (problem,) = [problem for problem in watched.problems.standing if problem.code is ProblemCode.COMMIT_OVERDUE]
        assert problem.message == "the last committed checkpoint is 302 s old; usually one comes every 100 s"
        watched.saved(502, 402, 302, 2)
        assert not await watched.stands(ProblemCode.COMMIT_OVERDUE)

    run_virtual(story())


@pytest.mark.parametrize("ages", [(), (5000,), (5000, 4900)])
def test_before_there_is_a_usual_interval_nothing_is_overdue(ages: tuple[float, ...]) -> None:
    async def story() -> None:
        watched = Watched()
        watched.saved(*ages)
        assert not await watched.stands(ProblemCode.COMMIT_OVERDUE)

    run_virtual(story())


def test_the_time_before_this_daemon_or_this_trainer_is_no_delay() -> None:
    async def story() -> None:
        resumed = Watched()
        resumed.saved(8000, 7900, 7800)
        assert not await resumed.stands(ProblemCode.COMMIT_OVERDUE, 200)
        assert await resumed.stands(ProblemCode.COMMIT_OVERDUE, 400)
        known = Watched(configured=True)
        known.saved(8000, 7900, 7800)
        assert not await known.stands(ProblemCode.COMMIT_OVERDUE), "none runs"
        known.trainer.start(started=known.clock.wall().timestamp() - 200)
        assert not await known.stands(ProblemCode.COMMIT_OVERDUE)
        await asyncio.sleep(150)
        assert await known.stands(ProblemCode.COMMIT_OVERDUE)

    run_virtual(story())


def test_what_can_not_leave_within_a_notice_is_a_problem_with_the_numbers_that_would_make_it_fit() -> None:
    async def story() -> None:
        watched = Watched()
        watched.saved(100, size=80_000_000_000, seconds=0.0)
        assert not await watched.stands(ProblemCode.DOES_NOT_FIT), "nothing was measured"
        await watched.sends_at(80e9 / 255)
        assert await watched.stands(ProblemCode.DOES_NOT_FIT)
        (problem,) = [problem for problem in watched.problems.standing if problem.code is ProblemCode.DOES_NOT_FIT]
        assert problem.message == "80 GB needs 256 s of 115 s: save every 5 min, or 6 Gbit/s"
        await watched.sends_at(2e9)
        assert not await watched.stands(ProblemCode.DOES_NOT_FIT)

    run_virtual(story())


def test_one_that_waits_and_is_larger_than_all_before_is_what_has_to_fit() -> None:
    async def story() -> None:
        watched = Watched()
        watched.saved(100, size=5_000_000)
        await watched.sends_at(20e6)
        assert not await watched.stands(ProblemCode.DOES_NOT_FIT)
        watched.shows(40_000_000_000, waiting=True)
        assert await watched.stands(ProblemCode.DOES_NOT_FIT)
        assert watched.prospects.exposure().fits_in_notice is False

    run_virtual(story())


def test_what_was_only_measured_under_a_cap_is_never_said_not_to_fit() -> None:
    async def story() -> None:
        watched = Watched()
        watched.throughput.limited(10e6)
        watched.saved(100, size=80_000_000_000)
        await watched.sends_at(10e6)
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
