"""Drills on the live job, in virtual time: what they do, what they must not do, and what they come to."""

from __future__ import annotations

import asyncio
import re

import pytest

from spotguard.core.notice import NoticeKind
from spotguard.core.rehearsal import Asks
from spotguard.core.status import DaemonState
from spotguard.ports.trainer import TrainerProcess
from tests.support.machine import hf_files, save_hf
from tests.support.memory_store import Link
from tests.support.virtual_time import run_virtual
from tests.unit.services.drain_world import Stage
from tests.unit.services.drill_world import MB, control, drilled, saves_and_goes_on


def test_the_trainer_saves_and_goes_on_and_the_sentence_says_how_long_it_took() -> None:
    async def story() -> None:
        stage = Stage(link=Link(1 * MB), checkpoint_signal="SIGUSR2")
        process = stage.trainer.start()
        saves_and_goes_on(stage, 200, seconds=31, size=26 * MB)
        async with stage.machine.on():
            await stage.committed(100)
            report = await drilled(stage)
            assert report.passed
            assert report.sentence.startswith(
                "if this machine is taken now you lose 0 steps: signalled in 0 ms, saved in 31 s, committed at "
            )
            assert report.checkpoint == "checkpoint-200"
            assert report.given_up == (), "that the next save has begun is no loss"
            assert report.committed_seconds == pytest.approx(31 + 26, abs=3)
            assert report.spare_seconds == pytest.approx(115 - report.committed_seconds)
            assert stage.trainer.signals == [(process.pid, "SIGUSR2")]
            assert {m["reason"] for m in stage.machine.manifests().values()} == {"save"}

    run_virtual(story())


def test_a_drill_runs_no_hooks_writes_no_notice_file_and_no_record_and_ends_by_itself() -> None:
    async def story() -> None:
        stage = Stage(checkpoint_signal="SIGUSR2")
        stage.trainer.start()
        saves_and_goes_on(stage, 200, seconds=1)
        async with stage.machine.on():
            await stage.committed(100)
            before = list(stage.machine.announcements.events)
            assert (await drilled(stage)).passed
            async with asyncio.timeout(30):
                await stage.machine.guard.drain.view.until(lambda v: v.state is DaemonState.WATCHING)
            after = [event for event in stage.machine.announcements.events[len(before) :] if event != "on_commit"]
            assert after == []
            assert stage.machine.announcements.notices == []
            assert not any("/interruptions/" in key for key in stage.bucket.objects)
            assert not stage.machine.guard.urgency.value.draining

    run_virtual(story())


def test_with_hooks_they_are_told_that_it_is_a_drill() -> None:
    async def story() -> None:
        stage = Stage(checkpoint_signal="SIGUSR2")
        stage.trainer.start()
        saves_and_goes_on(stage, 200, seconds=1)
        async with stage.machine.on():
            await stage.committed(100)
            await drilled(stage, hooks=True)
            await asyncio.sleep(1)
            told = {run.event: run.payload.get("drill") for run in stage.machine.announcements.hooks if run.event != "on_commit"}
            assert told == {"on_notice": True, "on_safe": True}

    run_virtual(story())


def test_a_save_that_does_not_fit_is_told_with_the_numbers_that_would_make_it_fit() -> None:
    async def story() -> None:
        stage = Stage(link=Link(1 * MB), checkpoint_signal="SIGUSR2")
        stage.trainer.start()
        saves_and_goes_on(stage, 200, seconds=5, size=90 * MB)
        async with stage.machine.on():
            await stage.committed(100, size=30 * MB)
            report = await drilled(stage, 60)
            assert not report.passed
            assert report.sentence.endswith(": 23 MB needs 102 s of 55 s: save every 2 min, or 4 Mbit/s")
            assert "checkpoint-200" in [given.name for given in report.given_up]
            async with asyncio.timeout(120):
                await stage.machine.state_of("checkpoint-200", "committed")

    run_virtual(story())


def test_with_nobody_to_ask_what_is_at_risk_is_told() -> None:
    async def story() -> None:
        stage = Stage(signal=None, configured=False)
        async with stage.machine.on():
            for step in (100, 200):
                await stage.committed(step)
                await asyncio.sleep(50)
            report = await drilled(stage)
            assert not report.passed
            assert report.steps_lost == pytest.approx(100, abs=3)
            assert "nobody is asked to save at a notice; set trainer.signal" in report.sentence

    run_virtual(story())


def test_without_a_signal_to_save_and_go_on_earlier_saves_speak_and_the_trainer_is_left_alone() -> None:
    async def story() -> None:
        stage = Stage(link=Link(1 * MB))
        stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100, size=20 * MB)
            report = await drilled(stage)
            assert report.passed
            assert re.search(r"you should lose 0 steps: by earlier ones a save takes 0 ms and sending it 2. s of 115 s", report.sentence)
            assert stage.trainer.signals == []

    run_virtual(story())


def test_stop_sends_the_real_signal_and_a_trainer_that_dies_of_it_does_not_pass() -> None:
    async def story() -> None:
        stage = Stage(checkpoint_signal="SIGUSR2")
        process = stage.trainer.start()
        stage.saves_then_exits(200, seconds=10)
        async with stage.machine.on():
            await stage.committed(100)
            assert (await drilled(stage, asks=Asks.STOP)).passed
            assert stage.trainer.signals == [(process.pid, "SIGUSR1")]
            await asyncio.sleep(30)
            stage.trainer.start()
            stage.trainer.on_signal = lambda killed, _: stage.trainer.exit(killed)
            await asyncio.sleep(10)
            report = await drilled(stage, asks=Asks.STOP)
            assert not report.passed
            assert "the trainer ended on SIGUSR1 without saving" in report.sentence

    run_virtual(story())


def test_a_real_notice_during_a_drill_takes_over_at_once() -> None:
    async def story() -> None:
        stage = Stage(checkpoint_signal="SIGUSR2")
        process = stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100)
            await control(stage).drill(120)
            await asyncio.sleep(7)
            stage.saves_then_exits(200, seconds=10)
            stage.imds.give(NoticeKind.TERMINATE, seconds=120)
            report = await control(stage).drill_report(60)
            assert report is not None
            assert report.sentence == "the drill was given up: a real notice came (terminate)"
            assert await stage.verdict() == "safe"
            told = stage.machine.guard.drain.view.value.interruption
            assert told is not None
            assert not told.drill
            assert stage.trainer.signals == [(process.pid, "SIGUSR2"), (process.pid, "SIGUSR1")]
            assert stage.trainer.sent[-1].at in stage.imds.polls, "in the same moment as the poll that saw the notice"
            await asyncio.sleep(1)
            assert any("/interruptions/" in key for key in stage.bucket.objects)

    run_virtual(story())


def test_a_drill_gives_no_checkpoint_of_the_live_run_up() -> None:
    async def story() -> None:
        stage = Stage(link=Link(1 * MB), checkpoint_signal="SIGUSR2")
        stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100, size=5 * MB)
            save_hf(stage.machine.disk, 200, size=40 * MB)
            await stage.machine.state_of("checkpoint-200", "uploading")
            saves_and_goes_on(stage, 300, seconds=1, size=5 * MB)
            report = await drilled(stage)
            assert report.passed
            async with asyncio.timeout(120):
                await stage.machine.state_of("checkpoint-200", "committed")
            assert stage.machine.states()["checkpoint-300"] == "committed"

    run_virtual(story())


def test_a_save_that_is_committed_only_after_the_trainer_has_ended_still_counts() -> None:
    async def story() -> None:
        stage = Stage(link=Link(1 * MB))
        stage.trainer.start()
        stage.saves_then_exits(200, seconds=2, size=20 * MB)
        async with stage.machine.on():
            await stage.committed(100)
            report = await drilled(stage, asks=Asks.STOP)
            assert report.passed
            assert report.checkpoint == "checkpoint-200"
            assert report.committed_seconds == pytest.approx(22, abs=3)

    run_virtual(story())


def test_a_trainer_that_ends_upon_the_save_it_was_at_when_the_signal_came_loses_nothing() -> None:
    async def story() -> None:
        stage = Stage()
        stage.trainer.start()
        files = hf_files(200, size=4000)
        *earlier, marker = files

        async def react(process: TrainerProcess, _: str) -> None:
            await asyncio.sleep(1)
            stage.machine.disk.write(f"checkpoint-200/{marker}", files[marker])
            stage.trainer.exit(process)

        stage.trainer.on_signal = react
        async with stage.machine.on():
            await stage.committed(100)
            for file in earlier:
                stage.machine.disk.write(f"checkpoint-200/{file}", files[file])
            await asyncio.sleep(0.5)
            report = await drilled(stage, asks=Asks.STOP)
            assert report.passed, report.sentence
            assert (report.steps_lost, report.checkpoint) == (0.0, "checkpoint-200")

    run_virtual(story())
