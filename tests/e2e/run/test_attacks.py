"""What `spotguard run` makes of a store that goes away, a trainer that dies in the middle of a save, and a guard that cannot live."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from spotguard.demo.embedded_s3 import EmbeddedS3
from tests.e2e.run.run_machine import RunMachine, wait_for
from tests.support.servers import Endpoint


@pytest.mark.slow
@pytest.mark.parametrize(("option", "status"), [((), 0), (("--strict",), 6)])
def test_a_store_that_goes_away_does_not_stop_the_training_and_what_is_lost_is_named(
    tmp_path: Path, option: tuple[str, ...], status: int
) -> None:
    with EmbeddedS3("other") as store, RunMachine(Endpoint(store.url), tmp_path, "gone") as machine:
        go = machine.folder / "go"
        script = (
            "import json, os, sys, time, pathlib\n"
            "print(json.dumps({'pid': os.getpid()}), flush=True)\n"
            f"while not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
            "folder = pathlib.Path(sys.argv[1], 'checkpoint-7'); folder.mkdir(parents=True)\n"
            "(folder / 'config.json').write_text('{}')\n"
            "(folder / 'model.safetensors').write_bytes((8).to_bytes(8, 'little') + b'{}      ')\n"
            "(folder / 'trainer_state.json').write_text('{\"global_step\": 7}')\n"
        )
        command = (*option, "--", sys.executable, "-c", script, machine.output)
        run = machine.start(*command, interruption__shutdown_grace_seconds=2)
        run.wait_told("pid")
        wait_for("the claim", lambda: run.logged("claim.held") or None)
        store.close()
        go.touch()
        assert run.wait(90) == status, run.err
        assert "not saved: checkpoint-7" in run.err


def test_a_trainer_that_is_killed_in_the_middle_of_a_save_leaves_nothing_committed_that_is_torn(machine: RunMachine) -> None:
    script = (
        "import os, pathlib, signal, sys\n"
        "folder = pathlib.Path(sys.argv[1], 'checkpoint-9'); folder.mkdir(parents=True)\n"
        "(folder / 'config.json').write_text('{}')\n"
        "file = open(folder / 'model.safetensors', 'wb'); file.write((800).to_bytes(8, 'little') + b'{'); file.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = machine.start("--", sys.executable, "-c", script, machine.output)
    assert run.wait() == 137, run.err
    assert machine.committed() == []
    assert machine.released()


def test_sigterm_while_the_last_checkpoint_is_flushed_hurries_and_the_second_ends(tmp_path: Path) -> None:
    with EmbeddedS3("other") as store, RunMachine(Endpoint(store.url), tmp_path, "hurry") as machine:
        run = machine.train("--steps", "2", "--step-seconds", "1.5", interruption__shutdown_grace_seconds=30)
        run.wait_told("pid")
        wait_for("the claim", lambda: run.logged("claim.held") or None)
        store.close()
        wait_for("the flush", lambda: run.logged("daemon.stopping") or None)
        run.send(signal.SIGTERM)
        wait_for("a deadline", lambda: [line for line in run.logged("daemon.stopping") if line["grace_seconds"]] or None)
        wait_for("the second one to be a wish of its own", lambda: run.send(signal.SIGTERM) or "ends now" in run.err or None)
        assert run.wait(20) == 0, run.err  # the command had ended well before
        assert "not saved: checkpoint-2" in run.err


def test_a_guard_that_dies_again_and_again_does_not_keep_run_from_ending(machine: RunMachine) -> None:
    run = machine.train("--steps", "100000", "--every", "50", "--on-signal", "save")
    run.wait_told("pid")
    for count in (1, 2):
        wait_for("a guard", lambda: len(run.logged("daemon.started")) >= count or None)  # noqa: B023
        os.kill(run.guard_pid, signal.SIGKILL)
        wait_for("its death to be noticed", lambda: run.err.count("the guard ended") >= count or None)  # noqa: B023
    run.send(signal.SIGTERM)
    assert run.wait(60) == 75, run.err
    assert f"checkpoint-{run.told('stopped')[0]}" in machine.committed()


def test_a_prefix_inside_another_run_is_refused_before_the_command_is_started(machine: RunMachine) -> None:
    assert machine.train("--steps", "2", "--then", "exit:1").wait() == 1
    machine.url += "/inside"
    run = machine.start("--", "echo", "started")
    assert run.wait() != 0
    assert "started\n" not in run.out.splitlines(keepends=True)
