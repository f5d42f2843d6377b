"""A trainer that saves somewhere else is found out; one that saves where it should never is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotguard.adapters.processes.process_table import as_trainer, process_facts
from spotguard.adapters.processes.writer_watch import ProcWriterWatch
from spotguard.core.problem import Problem, ProblemCode
from spotguard.ports.trainer import TrainerProcess
from spotguard.ports.writer_watch import WrittenFile
from spotguard.services.problem_board import ProblemBoard
from spotguard.services.published import Published
from spotguard.services.replication.folder_watch import FolderWatch
from spotguard.services.replication.replication_view import ReplicationView
from tests.support.machine import Machine, save_hf
from tests.support.memory_store import MemoryBucket
from tests.support.memory_trainer import MemoryTrainer, MemoryWriterWatch
from tests.support.real_processes import RealProcesses, real_processes
from tests.support.virtual_time import VirtualClock, run_virtual


class Watched:
    """A daemon whose trainer writes what the test says, outside of /out."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.trainer = MemoryTrainer()
        self.machine = Machine(MemoryBucket(self.clock), clock=self.clock, trainer=self.trainer)

    def starts(self) -> TrainerProcess:
        return self.trainer.start(started=self.clock.wall().timestamp())

    def writes(self, process: TrainerProcess, *paths: str) -> None:
        watch = self.machine.ports.writer_watch
        assert isinstance(watch, MemoryWriterWatch)
        watch.outside = {WrittenFile(process.pid, path) for path in paths}

    def problem(self) -> Problem | None:
        return next((p for p in self.machine.guard.problems.standing if p.code is ProblemCode.WRONG_FOLDER), None)


def test_a_checkpoint_written_elsewhere_is_named_with_both_ways_to_mend_it_until_one_comes_here() -> None:
    async def story() -> None:
        watched = Watched()
        async with watched.machine.on():
            process = watched.starts()
            await asyncio.sleep(30)
            assert watched.problem() is None
            watched.writes(process, "/data/other/checkpoint-500/model.safetensors")
            await asyncio.sleep(10)
            problem = watched.problem()
            assert problem is not None
            assert "/data/other/checkpoint-500/model.safetensors" in problem.message
            assert problem.fix == "set watch.dir to /data/other, or have the trainer write to /out"
            watched.writes(process)
            await asyncio.sleep(60)
            assert watched.problem() is not None, "that it is not writing just now mends nothing"
            save_hf(watched.machine.disk, 500)
            await asyncio.sleep(60)
            assert watched.problem() is None

    run_virtual(story())


def test_a_file_of_weights_counts_only_when_such_are_seen_again() -> None:
    async def story() -> None:
        watched = Watched()
        async with watched.machine.on():
            process = watched.starts()
            watched.writes(process, "/home/me/out/ckpt.pt")
            await asyncio.sleep(30)
            watched.writes(process)
            assert watched.problem() is None
            await asyncio.sleep(300)
            watched.writes(process, "/home/me/out/ckpt.pt")
            await asyncio.sleep(10)
            assert watched.problem() is not None

    run_virtual(story())


def test_a_trainer_that_saves_here_may_write_what_it_likes_elsewhere() -> None:
    async def story() -> None:
        watched = Watched()
        async with watched.machine.on():
            process = watched.starts()
            save_hf(watched.machine.disk, 100)
            watched.writes(process, "/data/other/checkpoint-100/model.safetensors", "/data/other/best.pt")
            await asyncio.sleep(900)
            assert watched.problem() is None

    run_virtual(story())


def test_what_was_here_before_the_trainer_started_does_not_speak_for_it() -> None:
    async def story() -> None:
        watched = Watched()
        async with watched.machine.on():
            save_hf(watched.machine.disk, 100)
            await asyncio.sleep(60)
            process = watched.starts()
            watched.writes(process, "/data/other/checkpoint-200/model.safetensors")
            await asyncio.sleep(20)
            assert watched.problem() is not None
            watched.trainer.exit(process)
            watched.starts()
            await asyncio.sleep(20)
            assert watched.problem() is None, "another trainer may do it right"

    run_virtual(story())


WRITER = """\
import sys, subprocess
if sys.argv[1] == "worker":
    held = [open(path, "wb") for path in sys.argv[2:]]
    print("ready", flush=True)
    sys.stdin.read()
else:
    subprocess.run([sys.executable, sys.argv[0], "worker", *sys.argv[1:]])
"""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[RealProcesses]:
    with real_processes(tmp_path) as started:
        yield started


@pytest.mark.parametrize(
    ("written", "proof"),
    [
        (["elsewhere/checkpoint-5/model.safetensors", "elsewhere/train.log"], "elsewhere/checkpoint-5/model.safetensors"),
        (["out/checkpoint-5/model.safetensors", "elsewhere/train.log", "elsewhere/events.out.tfevents.1.h.2"], None),
        (["out/checkpoint-5/model.safetensors"], None),
    ],
)
async def test_a_real_process_below_the_trainer_is_seen_writing(
    tmp_path: Path, processes: RealProcesses, written: list[str], proof: str | None
) -> None:
    for path in written:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "out").mkdir(exist_ok=True)
    script = processes.script("writer.py", WRITER)
    launcher, _ = processes.python(script, *(tmp_path / path for path in written), stdin=-1)
    facts = process_facts(launcher.pid)
    assert facts is not None
    watch = ProcWriterWatch(tmp_path / "out")
    clock = VirtualClock()
    problems = ProblemBoard(clock)
    folder_watch = FolderWatch(
        watch,
        view=Published(ReplicationView()),
        trainers=lambda: (as_trainer(facts),),
        problems=problems,
        clock=clock,
        watch_dir=str(tmp_path / "out"),
    )
    await folder_watch.look()
    assert problems.stands(ProblemCode.WRONG_FOLDER) is (proof is not None)
    if proof:
        assert str(tmp_path / proof) in problems.standing[0].message
        assert str(tmp_path / "elsewhere") in problems.standing[0].fix
    watch.close()
