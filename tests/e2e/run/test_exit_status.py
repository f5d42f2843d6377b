"""How `spotguard run` ends, and what it leaves behind."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.e2e.run.run_machine import RunMachine


def test_a_training_that_ends_well_is_saved_recorded_and_not_started_again(machine: RunMachine) -> None:
    run = machine.train("--steps", "4", "--every", "2")
    assert run.wait() == 0, run.err
    assert run.out.splitlines()[0] == f"starting fresh: {machine.url} is empty"
    assert machine.committed() == ["checkpoint-2", "checkpoint-4"]
    finished = machine.read(".spotguard/finished.json")
    assert finished["checkpoint"] == "checkpoint-4"
    assert machine.released()
    second = machine.train("--steps", "4")
    assert second.wait() == 0
    assert second.out == f"finished: {machine.url} was recorded as finished at {finished['finished_at']}; --again trains on\n"


@pytest.mark.parametrize(("then", "status"), [("exit:3", 3), ("kill:9", 137), ("kill:15", 143), ("exit:75", 75)])
def test_a_training_that_fails_has_its_own_status_and_is_not_finished(machine: RunMachine, then: str, status: int) -> None:
    run = machine.train("--steps", "2", "--then", then, "--on-signal", "default")
    assert run.wait() == status, run.err
    assert machine.committed() == ["checkpoint-2"]
    assert ".spotguard/finished.json" not in machine.listing()
    assert machine.released()


def test_a_command_that_cannot_be_started_is_125(machine: RunMachine) -> None:
    run = machine.start("--", "no-such-command")
    assert run.wait() == 125
    assert "spotguard: cannot start no-such-command: not found; give the command after `--`" in run.err
    assert ".spotguard/finished.json" not in machine.listing()


def test_a_bucket_that_is_not_there_starts_nothing(machine: RunMachine) -> None:
    machine.url = "s3://there-is-none/run1"
    run = machine.train()
    assert (run.wait(), run.out) == (5, "")
    assert run.err.count("spotguard: ") == 1


def test_the_command_gets_its_point_and_its_arguments(machine: RunMachine) -> None:
    assert machine.train("--steps", "2", "--then", "exit:1").wait() == 1
    show = "import os, sys; print(sys.argv[1:], os.environ['SPOTGUARD_STEP'], os.environ['SPOTGUARD_STAGE'] == '')"
    run = machine.start("--", sys.executable, "-c", show, "--resume", "{checkpoint}", "--stage", "{stage}", "{step}")
    assert run.wait() == 0, run.err
    first, second = run.out.splitlines()
    assert first.startswith("resuming checkpoint-2 (step 2, saved ")
    assert second == f"['--resume', '{machine.output}/checkpoint-2', '2'] 2 True"
    fresh = machine.start("--fresh", "--again", "--", sys.executable, "-c", show, "--resume", "{checkpoint}")
    assert fresh.wait() == 0
    first, second = fresh.out.splitlines()
    assert first.startswith(f"starting fresh: {machine.url} has 1 checkpoint ignored, the newest checkpoint-2")
    assert second == "[]  True"


def test_again_trains_on_and_an_interruption_of_it_is_not_taken_for_the_end(machine: RunMachine) -> None:
    assert machine.train("--steps", "2").wait() == 0
    run = machine.train("--start", "2", "--steps", "1000", run=("--again",))
    run.wait_told("saved")
    run.send(signal.SIGTERM)
    assert run.wait() == 75, run.err
    assert ".spotguard/finished.json" not in machine.listing()
    assert machine.train("--start", "6", "--steps", "8").wait() == 0
