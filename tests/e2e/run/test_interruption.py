"""`spotguard run` when the machine is to go: by a notice, by SIGTERM, or without a word."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from spotguard.adapters.processes.process_table import read_stat
from spotguard.demo.metadata_process import MetadataProcess
from tests.e2e.run.run_machine import TRAINER, RunMachine, wait_for

NOTICE_SECONDS = 30


def with_notices(metadata: MetadataProcess) -> dict[str, object]:
    return {"imds__mode": "required", "imds__endpoint": metadata.url, "imds__poll_seconds": 0.2}


def test_a_notice_makes_the_trainer_save_and_run_ends_with_75_when_that_is_committed(
    machine: RunMachine, metadata: MetadataProcess
) -> None:
    run = machine.train("--steps", "100000", "--every", "50", trainer__signal="SIGUSR1", **with_notices(metadata))
    (pid,) = run.wait_told("pid")
    metadata.interrupt(NOTICE_SECONDS)
    assert run.wait(NOTICE_SECONDS) == 75, run.err
    assert run.told("signal") == ["SIGUSR1"]
    (stopped,) = run.told("stopped")
    assert f"checkpoint-{stopped}" in machine.committed()
    (record,) = [key for key in machine.listing() if key.startswith(".spotguard/interruptions/")]
    assert machine.read(record)["verdict"] == "safe"
    assert ".spotguard/finished.json" not in machine.listing()
    assert f"interrupted; the newest checkpoint is checkpoint-{stopped}" in run.err
    assert [line["pid"] for line in run.logged("trainer.signalled")] == [pid]
    again = machine.train("--start", str(stopped), **with_notices(metadata))
    assert (again.wait(), again.out) == (75, "")
    assert "the trainer was not started: this instance will be terminated" in again.err


def test_the_notice_file_tells_a_script_that_no_signal_reaches(machine: RunMachine, metadata: MetadataProcess) -> None:
    script = (
        "import os, sys, time\nfrom spotguard.training import interruption\n"
        "print('{\"pid\": %d}' % os.getpid(), flush=True)\n"
        "while not interruption(os.environ['SPOTGUARD_NOTICE']): time.sleep(0.05)\n"
    )
    run = machine.start("--", sys.executable, "-c", script, **with_notices(metadata))
    run.wait_told("pid")
    metadata.interrupt(5)
    assert run.wait() == 75, run.err
    assert list((machine.folder / "run/spotguard").glob("notice-*")) == []


def test_sigterm_reaches_the_command_once_and_its_last_save_gets_out(machine: RunMachine) -> None:
    run = machine.train("--steps", "100000", "--every", "50")
    run.wait_told("pid")
    run.send(signal.SIGTERM)
    run.send(signal.SIGTERM)
    assert run.wait() == 75, run.err
    assert run.told("signal") == ["SIGTERM"]
    (stopped,) = run.told("stopped")
    assert machine.committed() == [f"checkpoint-{stopped}"]
    assert machine.released()


def test_a_command_that_ignores_sigterm_is_killed_when_the_grace_is_over(machine: RunMachine) -> None:
    options = ("--steps", "100000", "--every", "5", "--on-signal", "ignore")
    run = machine.train(*options, interruption__shutdown_grace_seconds=1.5)
    run.wait_told("saved")
    run.send(signal.SIGTERM)
    time.sleep(1.1)
    run.send(signal.SIGTERM)  # adds nothing
    assert run.wait() == 75
    assert run.told("signal") == ["SIGTERM"]
    assert "the command still runs 1.5 s after SIGTERM: it is killed" in run.err
    assert f"checkpoint-{run.told('saved')[-2]}" in machine.committed()


def test_the_ranks_behind_a_script_are_told_and_the_script_after_them(machine: RunMachine) -> None:
    script = machine.folder / "train.sh"
    rank = f'"{sys.executable}" "{TRAINER}" "{machine.output}"'
    script.write_text(f"{rank}/a --steps 100000 --every 7 &\n{rank}/b --steps 100000 --every 7 | cat\nwait\necho next\nsleep 60\n")
    run = machine.start("--", "sh", script)
    run.wait_told("pid", 2)
    run.send(signal.SIGTERM)
    assert run.wait() == 75, run.err
    assert run.told("signal") == ["SIGTERM", "SIGTERM"]
    assert len(run.told("stopped")) == 2
    assert {name.partition("/")[0] for name in machine.committed()} == {"a", "b"}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_during_the_restore_ends_it_cleanly(machine: RunMachine, number: signal.Signals, status: int) -> None:
    assert machine.train("--steps", "2", "--size", "40000000", "--then", "exit:1").wait() == 1
    folder = machine.output / "checkpoint-2"
    whole = (folder / "model.safetensors").read_bytes()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    run = machine.start("--", "echo", "started")
    rng = random.Random(int(number))
    wait_for("the restore", lambda: any(machine.output.iterdir()) or folder.exists())
    time.sleep(rng.uniform(0.0, 0.05))
    run.send(number)
    assert run.wait() == status, run.err
    assert "started\n" not in run.out
    assert not folder.exists() or (folder / "model.safetensors").read_bytes() == whole
    assert {path.name for path in machine.output.iterdir()} <= {"checkpoint-2", ".spotguard-tmp"}


def test_when_run_is_killed_the_training_goes_on_and_what_it_saves_is_still_committed(machine: RunMachine) -> None:
    run = machine.train("--steps", "60", "--every", "20")
    (pid,) = run.wait_told("pid")
    guard = run.guard_pid
    run.process.kill()
    run.process.wait()
    wait_for("the last commit", lambda: "checkpoint-60" in machine.committed())
    wait_for("the end of the trainer", lambda: (stat := read_stat(pid)) is None or stat.ended)
    wait_for("the end of the guard", lambda: (stat := read_stat(guard)) is None or stat.ended)
    assert run.told("saved") == [20, 40, 60]
    assert machine.released()
    assert ".spotguard/finished.json" not in machine.listing()  # nobody knows how it ended


def test_when_the_guard_dies_the_training_goes_on_under_a_new_one(machine: RunMachine, metadata: MetadataProcess) -> None:
    run = machine.train("--steps", "100000", "--every", "10", trainer__signal="SIGUSR1", **with_notices(metadata))
    run.wait_told("saved")
    first = run.guard_pid
    os.kill(first, signal.SIGKILL)
    wait_for("a new guard", lambda: len(run.logged("daemon.started")) == 2 or None)
    metadata.interrupt(NOTICE_SECONDS)
    assert run.wait(NOTICE_SECONDS) == 75, run.err
    assert "the guard ended with status 137: training goes on" in run.err
    assert run.told("signal") == ["SIGUSR1"]
    assert f"checkpoint-{run.told('stopped')[0]}" in machine.committed()


def test_a_run_that_another_one_takes_over_trains_on_and_ends_with_7(machine: RunMachine, tmp_path: Path) -> None:
    run = machine.train("--steps", "100000", "--every", "20", "--on-signal", "save")
    run.wait_told("saved")
    other = machine.start("--", "sleep", "30", name="run")
    wait_for("the claim to be lost", lambda: run.logged("daemon.fenced") or None, seconds=40)
    run.check()
    other.send(signal.SIGTERM)
    run.send(signal.SIGTERM)
    assert (run.wait(), other.wait()) == (7, 75), run.err
    assert "another spotguard has taken this run over" in run.err
