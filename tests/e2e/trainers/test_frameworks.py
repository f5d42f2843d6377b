"""The configurations of docs/trainers.md, each tried with the framework itself: a notice, a last save, and training on from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import spotguard
from spotguard.adapters.processes.process_table import read_stat
from spotguard.demo.metadata_process import MetadataProcess
from tests.e2e.run.run_machine import RunMachine, Running, wait_for
from tests.support.servers import Endpoint, moto

HERE = Path(__file__).parent
SOURCE = str(Path(spotguard.__file__).parents[1])
FRAMEWORKS = os.environ.get("SPOTGUARD_HF_PYTHON", "")
NOTICE_SECONDS = 60

pytestmark = pytest.mark.timeout(300)
needs_hf = [
    pytest.mark.needs_hf,
    pytest.mark.skipif(not os.path.exists(FRAMEWORKS), reason="SPOTGUARD_HF_PYTHON names no Python with the frameworks"),
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with moto.running() as running:
        yield running


@pytest.fixture
def machine(endpoint: Endpoint, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunMachine]:
    monkeypatch.setenv("PYTHONPATH", SOURCE)  # the scripts use spotguard.training
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with RunMachine(endpoint, tmp_path, f"b{abs(hash(request.node.nodeid)):x}") as started:
        yield started


@pytest.fixture
def metadata() -> Iterator[MetadataProcess]:
    with MetadataProcess() as service:
        yield service


def settings(metadata: MetadataProcess, **more: object) -> dict[str, Any]:
    return {"imds__mode": "required", "imds__endpoint": metadata.url, "imds__poll_seconds": 0.2, **more}


def interrupted_after(run: Running, metadata: MetadataProcess, steps: int = 3) -> int:
    """Give the notice when training goes on; the exit status."""
    wait_for(f"step {steps}", lambda: run.check() or max(run.told("step"), default=0) >= steps or None, seconds=150)
    metadata.interrupt(NOTICE_SECONDS)
    return run.wait(NOTICE_SECONDS)


def last_save(machine: RunMachine, stopped: int, way: str) -> int:
    """The step of the one committed checkpoint. A JIT checkpoint may be made in the middle of a step, which then still comes to its end."""
    (name,) = machine.committed()
    saved = int(name.rpartition("-")[2])
    assert saved in ((stopped,) if way == "callback" else (stopped, stopped - 1))
    return saved


@pytest.mark.parametrize("ending", ["notice", "sigterm", "rebalance"])
def test_a_plain_loop_saves_and_stops_and_goes_on_after_a_rebalance(machine: RunMachine, metadata: MetadataProcess, ending: str) -> None:
    command = ("--", sys.executable, HERE / "plain_script.py", machine.output)
    run = machine.start(*command, **settings(metadata, trainer__recipe="plain"))
    run.wait_told("pid")
    if ending == "rebalance":
        metadata.control("POST", {"facts": {"rebalance": {"noticeTime": "2026-11-24T12:00:00Z"}}})
        assert run.wait_told("todo") == ["SAVE"]
        wait_for("its commit", lambda: machine.committed() or None)
    if ending == "sigterm":
        run.send(signal.SIGTERM)
    else:
        metadata.interrupt(NOTICE_SECONDS)
    assert run.wait(NOTICE_SECONDS) == 75, run.err
    assert run.told("todo")[-1] == "STOP"
    assert machine.committed() == sorted(f"step-{step}" for step in run.told("saved"))
    metadata.withdraw()
    again = machine.start(*command, **settings(metadata, trainer__recipe="plain"))
    assert again.wait_told("begins") == [run.told("saved")[-1]]


@pytest.mark.slow
@pytest.mark.parametrize("way", [pytest.param("jit", marks=needs_hf), pytest.param("callback", marks=needs_hf)])
def test_the_hugging_face_trainer_with_workers(machine: RunMachine, metadata: MetadataProcess, way: str) -> None:
    script = (FRAMEWORKS, HERE / "hf_script.py", machine.output, "--workers", "2", *(("--callback",) if way == "callback" else ()))
    run = machine.start("--", *script, **settings(metadata, trainer__recipe="hf-trainer"))
    assert interrupted_after(run, metadata) == 75, run.err
    (pid,) = run.told("pid")
    assert [line["pid"] for line in run.logged("trainer.signalled")] == [pid]  # neither a worker nor anybody twice
    (stopped,) = run.told("ended")
    saved = last_save(machine, stopped, way)
    metadata.withdraw()
    again = machine.start("--", *script, "--steps", str(stopped + 2), "--resume", "{checkpoint}", **settings(metadata))
    assert again.wait(150) == 0, again.err
    assert again.told("begins") == [saved]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "way"),
    [
        pytest.param("torchrun", "callback", marks=needs_hf),
        pytest.param("accelerate", "callback", marks=needs_hf),
    ],
)
def test_the_ranks_behind_a_launcher_are_signalled_once_each(
    machine: RunMachine, metadata: MetadataProcess, launcher: str, way: str
) -> None:
    folder = Path(FRAMEWORKS).parent
    started_by = {
        "torchrun": (FRAMEWORKS, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        # On a CPU accelerate starts several ranks by mpirun only: one.
        "accelerate": (FRAMEWORKS, folder / "accelerate", "launch", "--cpu", "--num_processes", "1", "--num_machines", "1"),
    }[launcher]
    script = (*started_by, HERE / "hf_script.py", machine.output, *(("--callback",) if way == "callback" else ()))
    run = machine.start("--", *script, **settings(metadata, trainer__recipe=launcher))
    run.wait_told("pid", 2 if launcher == "torchrun" else 1, seconds=150)
    assert interrupted_after(run, metadata) == 75, run.err
    signalled = [line["pid"] for line in run.logged("trainer.signalled")]
    assert sorted(signalled) == sorted(run.told("pid"))
    stopped = set(run.told("ended"))
    assert len(stopped) == 1, f"the ranks stopped at different steps: {stopped}"
    last_save(machine, stopped.pop(), way)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [pytest.param(2, marks=needs_hf)])
def test_each_rank_of_a_jit_checkpoint_is_signalled_once(machine: RunMachine, metadata: MetadataProcess, ranks: int) -> None:
    """What the ranks make of it is not asserted: each starts a timer of its own, and at steps this short one may save a step before the
    other, which then waits for it in a collective until it is killed (docs/trainers.md). The callback has no such gap."""
    torchrun = (FRAMEWORKS, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks))
    run = machine.start("--", *torchrun, HERE / "hf_script.py", machine.output, **settings(metadata, trainer__recipe="torchrun"))
    pids = run.wait_told("pid", ranks, seconds=150)
    wait_for("steps", lambda: run.check() or max(run.told("step"), default=0) >= 3 or None, seconds=150)
    metadata.interrupt(NOTICE_SECONDS)
    wait_for("the signals", lambda: len(run.logged("trainer.signalled")) >= ranks or None)
    wait_for("a save", lambda: list(machine.output.glob("checkpoint-*")) or None)
    assert sorted(line["pid"] for line in run.logged("trainer.signalled")) == sorted(pids)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [pytest.param("notice", marks=needs_hf), pytest.param("rebalance", marks=needs_hf)])
def test_lightning_with_our_callback(machine: RunMachine, metadata: MetadataProcess, ending: str) -> None:
    found = subprocess.run([FRAMEWORKS, "-c", "import lightning"], capture_output=True, check=False)
    if found.returncode != 0:
        pytest.skip("the environment of the frameworks has no lightning")
    script = (FRAMEWORKS, HERE / "lightning_script.py", machine.output)
    run = machine.start("--", *script, **settings(metadata, trainer__recipe="lightning"))
    if ending == "rebalance":
        wait_for("steps", lambda: run.check() or len(run.told("step")) > 3 or None, seconds=150)
        metadata.control("POST", {"facts": {"rebalance": {"noticeTime": "2026-11-24T12:00:00Z"}}})
        wait_for("the commit after the rebalance", lambda: machine.committed() or None)
        before = len(run.told("step"))
        wait_for("further steps", lambda: len(run.told("step")) > before + 2 or None)
    assert interrupted_after(run, metadata) == 75, run.err
    assert len(machine.committed()) == (2 if ending == "rebalance" else 1)
    newest = max(int(name.rpartition("=")[2].removesuffix(".ckpt")) for name in machine.committed())
    metadata.withdraw()
    again = machine.start("--", *script, "--steps", str(newest + 2), "--resume", "{checkpoint}", **settings(metadata))
    assert again.wait(150) == 0, again.err
    assert again.told("begins") == [newest]


@pytest.mark.parametrize("launcher", [pytest.param("torchrun", marks=needs_hf)])
def test_beside_a_daemon_the_recipe_finds_the_ranks_by_their_launcher(
    machine: RunMachine, metadata: MetadataProcess, launcher: str
) -> None:
    script = machine.folder / "ranks.py"
    script.write_text(
        "import json, os, signal, time\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))\n"
        "print(json.dumps({'pid': os.getpid()}), flush=True)\n"
        "while True: time.sleep(0.1)\n"
    )
    command = [FRAMEWORKS, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    output = machine.folder / "torchrun.out"
    with output.open("wb") as out:
        torchrun = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=machine.environment())
    ranks = Running(torchrun, output, output)
    pids = ranks.wait_told("pid", 2)
    daemon = machine.start(name="daemon", **settings(metadata, trainer__recipe=launcher))
    wait_for("the ranks", lambda: daemon.check() or daemon.logged("trainer.found") or None)
    metadata.interrupt(NOTICE_SECONDS)
    assert ranks.wait() == 0, ranks.out
    assert sorted(line["pid"] for line in daemon.logged("trainer.signalled")) == sorted(pids)
    assert all((stat := read_stat(pid)) is None or stat.ended for pid in pids)
