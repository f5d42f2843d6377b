"""What a drain comes to: safe, unsafe, or back to watching."""

from __future__ import annotations

import asyncio
import json

from spotguard.core.exit_status import ExitStatus
from spotguard.core.notice import NoticeKind
from spotguard.core.status import DaemonState
from spotguard.ports.trainer import TrainerProcess
from tests.support.machine import Machine, save_hf
from tests.support.memory_store import Link
from tests.support.virtual_time import run_virtual
from tests.unit.services.drain_world import Stage


def test_safe_needs_something_committed_in_the_run() -> None:
    async def story() -> None:
        stage = Stage(configured=False)
        async with stage.machine.on():
            await asyncio.sleep(10)
            stage.imds.give(NoticeKind.TERMINATE, seconds=60)
            assert await stage.verdict() == "unsafe"

    run_virtual(story())


def test_a_trainer_that_neither_saves_nor_exits_is_unsafe_at_the_deadline() -> None:
    async def story() -> None:
        stage = Stage()
        stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100)
            stage.imds.give(NoticeKind.TERMINATE, seconds=60)
            assert await stage.verdict() == "unsafe"
            await asyncio.sleep(1)
            assert stage.machine.announcements.events.count("on_unsafe") == 1
            assert "on_safe" not in stage.machine.announcements.events

    run_virtual(story())


def test_a_checkpoint_still_being_written_keeps_the_verdict_from_safe() -> None:
    async def story() -> None:
        stage = Stage(configured=False)
        async with stage.machine.on():
            await stage.committed(100)
            stage.imds.give(NoticeKind.TERMINATE, seconds=60)

            async def write_for_ever() -> None:
                size = 0
                while True:
                    size += 1000
                    stage.machine.disk.write("checkpoint-200/model.safetensors", b"x" * size)
                    await asyncio.sleep(1)

            writer = asyncio.ensure_future(write_for_ever())
            assert await stage.verdict() == "unsafe"
            writer.cancel()
            given_up = stage.machine.guard.drain.view.value.interruption
            assert given_up is not None
            assert [g.name for g in given_up.given_up] == ["checkpoint-200"]

    run_virtual(story())


def test_what_cannot_fit_is_named_and_the_newest_that_fits_is_committed() -> None:
    async def story() -> None:
        stage = Stage(link=Link(1_000_000), configured=False)
        async with stage.machine.on():
            await stage.committed(100, size=5_000_000)
            save_hf(stage.machine.disk, 200, stage="huge", size=300_000_000)
            await stage.machine.state_of("huge/checkpoint-200", "uploading")
            await asyncio.sleep(3)
            save_hf(stage.machine.disk, 300, size=20_000_000)
            stage.imds.give(NoticeKind.TERMINATE, seconds=60)
            assert await stage.verdict() == "unsafe"
            states = stage.machine.states()
            assert states["checkpoint-300"] == "committed"
            told = stage.machine.guard.drain.view.value.interruption
            assert told is not None
            assert [g.name for g in told.given_up] == ["huge/checkpoint-200"]
            assert told.last_committed == "checkpoint-300"

    run_virtual(story())


def test_the_bandwidth_cap_is_lifted_by_the_notice_and_comes_back_when_it_is_withdrawn() -> None:
    async def story() -> None:
        stage = Stage(link=Link(50_000_000), configured=False, bytes_per_second=100_000)
        async with stage.machine.on():
            save_hf(stage.machine.disk, 100, size=20_000_000)
            await stage.machine.state_of("checkpoint-100", "uploading")
            stage.imds.give(NoticeKind.TERMINATE, seconds=60)
            assert await stage.verdict() == "safe"

    run_virtual(story())


def test_a_withdrawn_notice_goes_back_to_watching_and_takes_its_file_away() -> None:
    async def story() -> None:
        stage = Stage()
        stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100)
            stage.imds.give(NoticeKind.TERMINATE, seconds=120)
            await stage.machine.guard.drain.view.until(lambda v: v.state is DaemonState.DRAINING)
            await asyncio.sleep(1)
            assert stage.machine.announcements.notice is not None
            stage.imds.withdraw(NoticeKind.TERMINATE)
            await stage.machine.guard.drain.view.until(lambda v: v.state is DaemonState.WATCHING)
            await asyncio.sleep(1)
            assert stage.machine.announcements.notice is None
            assert not stage.machine.guard.urgency.value.draining

    run_virtual(story())


def test_a_new_checkpoint_after_safe_turns_it_back_to_draining_until_it_is_committed() -> None:
    async def story() -> None:
        stage = Stage(link=Link(1_000_000), configured=False)
        async with stage.machine.on():
            await stage.committed(100)
            stage.imds.give(NoticeKind.TERMINATE, seconds=120)
            assert await stage.verdict() == "safe"
            save_hf(stage.machine.disk, 200, size=10_000_000)
            drain = stage.machine.guard.drain.view
            async with asyncio.timeout(5):
                await drain.until(lambda v: v.state is DaemonState.DRAINING)
            async with asyncio.timeout(60):
                await drain.until(lambda v: v.state is DaemonState.SAFE)
            assert stage.machine.states()["checkpoint-200"] == "committed"

    run_virtual(story())


def test_on_safe_runs_once_and_only_when_the_trainer_is_gone() -> None:
    async def story() -> None:
        stage = Stage()
        process = stage.trainer.start()

        async def save_and_linger(_: TrainerProcess, __: str) -> None:
            save_hf(stage.machine.disk, 200)
            await asyncio.sleep(30)
            stage.trainer.exit(process)

        stage.trainer.on_signal = save_and_linger
        async with stage.machine.on():
            await stage.committed(100)
            stage.imds.give(NoticeKind.TERMINATE, seconds=120)
            assert await stage.verdict() == "safe"
            assert "on_safe" not in stage.machine.announcements.events
            await asyncio.sleep(60)
            assert stage.machine.announcements.events.count("on_safe") == 1

    run_virtual(story())


def test_the_interruption_is_recorded_in_the_bucket_after_the_verdict() -> None:
    async def story() -> None:
        stage = Stage(configured=False)
        async with stage.machine.on():
            await stage.committed(100)
            stage.imds.give(NoticeKind.TERMINATE, seconds=60)
            await stage.verdict()
            await asyncio.sleep(1)
            (key,) = [key for key in stage.bucket.objects if "/interruptions/" in key]
            record = json.loads(stage.bucket.objects[key].body)
            assert record["verdict"] == "safe"
            assert record["kind"] == "terminate"
            assert record["host"]["instance_id"] == "i-1"
            assert record["checkpoints"][0]["name"] == "checkpoint-100"

    run_virtual(story())


def test_a_store_that_is_away_at_the_notice_never_makes_it_safe() -> None:
    async def story() -> None:
        stage = Stage(configured=False)
        async with stage.machine.on():
            await stage.committed(100)
            stage.machine.link.bytes_per_second = 1
            save_hf(stage.machine.disk, 200, size=1_000_000)
            stage.imds.give(NoticeKind.TERMINATE, seconds=60)
            assert await stage.verdict() == "unsafe"

    run_virtual(story())


def test_sigterm_signals_nobody_and_ends_at_once_when_nothing_is_left() -> None:
    async def story() -> None:
        stage = Stage()
        stage.trainer.start()
        async with stage.machine.on() as daemon:
            await stage.committed(100)
            began = stage.clock.monotonic()
            stage.machine.life.stop()
            assert await daemon is ExitStatus.DONE
            assert stage.clock.monotonic() - began < 2
            assert stage.trainer.signals == []
        assert any(key.endswith("00000001.released.json") for key in stage.bucket.objects)

    run_virtual(story())


def test_sigterm_flushes_within_its_grace_and_says_what_is_left() -> None:
    async def story() -> None:
        stage = Stage(link=Link(1_000_000), shutdown_grace_seconds=10)
        async with stage.machine.on() as daemon:
            await stage.committed(100)
            save_hf(stage.machine.disk, 200, size=100_000_000)
            began = stage.clock.monotonic()
            stage.machine.life.stop()
            assert await daemon is ExitStatus.UNCOMMITTED
            assert 9 <= stage.clock.monotonic() - began <= 17

    run_virtual(story())


def test_a_second_daemon_on_the_run_fences_the_first_which_finishes_first() -> None:
    async def story() -> None:
        stage = Stage()
        other_clock = stage.clock
        async with stage.machine.on() as first_task:
            await stage.committed(100)
            second = Machine(stage.bucket, clock=other_clock, name="i-2")
            async with second.on():
                save_hf(stage.machine.disk, 200)
                await asyncio.sleep(50)
                assert stage.state() is DaemonState.FENCED
                assert stage.machine.states()["checkpoint-200"] == "committed"
                assert second.guard.may_write()
                save_hf(stage.machine.disk, 300)
                await asyncio.sleep(60)
                assert not any("checkpoint-300" in key for key in stage.bucket.objects)
                stage.machine.life.stop()
                assert await first_task is ExitStatus.FENCED

    run_virtual(story())


def test_a_drill_signals_nobody_runs_no_hooks_and_ends_by_itself() -> None:
    async def story() -> None:
        stage = Stage()
        stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100)
            hooks_before = list(stage.machine.announcements.events)
            stage.machine.guard.monitor.announce_drill(60)
            assert await stage.verdict() == "safe"
            async with asyncio.timeout(30):
                await stage.machine.guard.drain.view.until(lambda v: v.state is DaemonState.WATCHING)
            assert stage.trainer.signals == []
            assert stage.machine.announcements.events == hooks_before
            assert not any("/interruptions/" in key for key in stage.bucket.objects)

    run_virtual(story())


def test_a_newest_checkpoint_that_can_not_be_stored_is_never_safe() -> None:
    async def story() -> None:
        stage = Stage(configured=False)
        async with stage.machine.on() as life:
            await stage.committed(1)
            stage.machine.disk.link("checkpoint-2/weights", "/elsewhere/weights")
            stage.machine.guard.schedule.hint(save_hf(stage.machine.disk, 2))
            await stage.machine.state_of("checkpoint-2", "failed", within=60)
            stage.imds.give(NoticeKind.TERMINATE, seconds=40)
            assert await stage.verdict() == "unsafe"
            told = stage.machine.report.interruption()
            assert told is not None
            assert [given_up.name for given_up in told.given_up] == ["checkpoint-2"]
            assert told.last_committed == "checkpoint-1"
            stage.machine.life.stop()
            assert await life is ExitStatus.UNCOMMITTED

    run_virtual(story())


def test_an_older_one_that_can_not_be_stored_keeps_nothing_from_safe() -> None:
    async def story() -> None:
        stage = Stage(configured=False)
        async with stage.machine.on():
            await stage.committed(1)
            stage.machine.disk.link("checkpoint-2/weights", "/elsewhere/weights")
            stage.machine.guard.schedule.hint(save_hf(stage.machine.disk, 2))
            await stage.machine.state_of("checkpoint-2", "failed", within=60)
            await asyncio.sleep(2)
            await stage.committed(3)
            stage.imds.give(NoticeKind.TERMINATE, seconds=40)
            assert await stage.verdict() == "safe"

    run_virtual(story())
