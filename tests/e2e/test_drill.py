"""`spotguard drill` against the real daemon and a real trainer, which goes on training."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spotguard.demo.embedded_s3 import EmbeddedS3
from spotguard.demo.metadata_process import MetadataProcess
from spotguard.demo.training_process import TrainingProcess, trainer_command
from tests.e2e.world import state_of, wait_until
from tests.support.daemon_process import CommandMachine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

BUCKET = "drills"
SIGNALS = {"trainer.signal": "SIGUSR1", "trainer.checkpoint_signal": "SIGUSR2", "imds.poll_seconds": 0.3}


@pytest.fixture(scope="module")
def bucket() -> Iterator[EmbeddedS3]:
    with EmbeddedS3(BUCKET) as server:
        yield server


@pytest.fixture
def metadata() -> Iterator[MetadataProcess]:
    with MetadataProcess() as service:
        yield service


def machine_for(folder: Path, bucket: EmbeddedS3, metadata: MetadataProcess, **settings: Any) -> CommandMachine:
    given = {"imds.mode": "required", "imds.endpoint": metadata.url, "trainer.pid_file": str(folder / "m/trainer.pid"), **settings}
    return CommandMachine(folder / "m", url=f"s3://{BUCKET}/{folder.name}", endpoint_url=bucket.url, settings=given)


def training_on(machine: CommandMachine, *, save_steps: int = 20) -> TrainingProcess:
    command = trainer_command(
        output=machine.output,
        pid_file=machine.pid_file,
        steps=100_000,
        save_steps=save_steps,
        step_seconds=0.05,
        save_seconds=0.4,
        checkpoint_mib=2,
    )
    return machine.start(*command, output="trainer.log")


def test_the_live_job_saves_and_goes_on_and_one_sentence_says_what_an_interruption_costs(
    bucket: EmbeddedS3, metadata: MetadataProcess, tmp_path: Path
) -> None:
    with machine_for(tmp_path, bucket, metadata, **SIGNALS) as machine:
        daemon, training = machine.daemon(), training_on(machine)
        wait_until(lambda: state_of(daemon.status(), "checkpoint-20") == "committed")
        wait_until(lambda: daemon.status()["trainer"]["found"])
        told = machine.spotguard("drill", "--seconds", "30")
        assert (told.returncode, told.stderr) == (0, ""), told.stdout
        times = r"signalled in \d+ ms, saved in [\d.]+ m?s, committed at [\d.]+ m?s, 2\d s to spare"
        assert re.fullmatch(f"if this machine is taken now you lose 0 steps: {times}", told.stdout.strip())
        step = training.last_step()
        wait_until(lambda: training.last_step() > step)
        assert training.returncode() is None
        wait_until(lambda: daemon.status()["state"] == "watching")
        report = machine.json("drill", "--seconds", "30")
        assert report["passed"] is True
        assert (report["asked"], report["signal"], report["steps_lost"]) == ("save", "SIGUSR2", 0.0)
        assert state_of(daemon.status(), report["checkpoint"]) == "committed"
        wait_until(lambda: daemon.status()["state"] == "watching")

        stopped = machine.spotguard("drill", "--seconds", "30", "--stop")
        assert (stopped.returncode, stopped.stderr) == (0, ""), stopped.stdout
        wait_until(lambda: training.returncode() is not None)
        assert training.told("stopped")[0]["signal"] == "SIGUSR1"


def test_without_any_signal_it_fails_with_what_to_set(bucket: EmbeddedS3, metadata: MetadataProcess, tmp_path: Path) -> None:
    with machine_for(tmp_path, bucket, metadata, **{"imds.poll_seconds": 0.3}) as machine:
        daemon, training = machine.daemon(), training_on(machine)
        wait_until(lambda: state_of(daemon.status(), "checkpoint-40") == "committed")
        wait_until(lambda: daemon.status()["trainer"]["found"])
        told = machine.spotguard("drill", "--seconds", "10")
        assert told.returncode == 1
        assert re.search(r"you lose about \d+ steps: nobody is asked to save at a notice; set trainer.signal", told.stdout)
        wait_until(lambda: daemon.status()["state"] == "watching")
        refused = machine.spotguard("drill", "--stop")
        assert refused.returncode == 1
        assert "trainer.signal is not set" in refused.stderr
        assert training.returncode() is None
    with machine_for(tmp_path, bucket, metadata) as machine:
        assert machine.spotguard("drill").returncode == 5


def test_a_real_notice_takes_over(bucket: EmbeddedS3, metadata: MetadataProcess, tmp_path: Path) -> None:
    deaf = {**SIGNALS, "trainer.checkpoint_signal": "SIGWINCH"}  # which the trainer does not heed: the drill waits for a save
    with machine_for(tmp_path, bucket, metadata, **deaf) as machine:
        daemon, training = machine.daemon(), training_on(machine, save_steps=10_000)
        wait_until(lambda: daemon.status()["trainer"]["found"])
        wait_until(lambda: training.last_step() > 2)
        drill = machine.start(sys.executable, "-m", "spotguard", "drill", "-c", machine.config_file, "--json", output="drill.json")
        wait_until(lambda: daemon.status()["interruption"] is not None)
        metadata.interrupt(20)
        wait_until(lambda: drill.returncode() is not None)
        report = json.loads("".join(drill.lines()))
        assert (drill.returncode(), report["taken_over"]) == (1, "terminate")
        wait_until(lambda: daemon.status()["state"] == "safe")
        assert daemon.status()["interruption"]["drill"] is False
        assert training.told("stopped")[0]["signal"] == "SIGUSR1"
