"""Whom a notice reaches below the command of `spotguard run`."""

from __future__ import annotations

import os
import signal

import pytest

from spotguard.adapters.processes.command_trainer import CommandTrainer
from spotguard.ports.trainer import TrainerProcess
from tests.support.real_processes import TRAINER, RealProcesses

RANKS = """\
import subprocess, sys
ranks = [subprocess.Popen([sys.executable, "-u", *sys.argv[1:]], stdout=subprocess.PIPE, text=True) for _ in range(2)]
for rank in ranks:
    rank.stdout.readline()
    print(rank.pid, flush=True)
for rank in ranks:
    rank.wait()
sys.stdin.readline()
"""


async def pids(trainer: CommandTrainer) -> list[int]:
    return sorted(process.pid for process in await trainer.find())


async def test_nobody_is_found_before_the_command_runs_and_after_it_has_ended(processes: RealProcesses) -> None:
    trainer = CommandTrainer("SIGUSR1")
    assert trainer.configured
    assert await pids(trainer) == []
    command, _ = processes.python(processes.script("train_me.py", TRAINER), processes.folder / "noted")
    trainer.adopt(command.pid)
    assert await pids(trainer) == [command.pid]
    trainer.release()
    assert await pids(trainer) == []


@pytest.mark.parametrize("above", ["torchrun", "sh"])
async def test_when_the_ranks_have_ended_nobody_is_left_to_signal(processes: RealProcesses, above: str) -> None:
    rank = processes.script("rank.py", TRAINER)
    launcher = processes.script("torchrun", RANKS)
    if above == "torchrun":
        command, lines = processes.python(launcher, rank, processes.folder / "noted", lines=2, stdin=-1)
    else:
        one = f'python3 "{rank}" {processes.folder}/noted & echo $!'
        command, lines = processes.start("sh", "-c", f"{one}; {one}; wait; read line", lines=4, stdin=-1)
    ranks = sorted(int(line) for line in lines if line.isdigit())
    trainer = CommandTrainer("SIGUSR1")
    trainer.adopt(command.pid)
    assert await pids(trainer) == ranks
    for pid in ranks:
        os.kill(pid, signal.SIGKILL)
    for process in [TrainerProcess(pid, 0.0, "") for pid in ranks]:
        while os.path.exists(f"/proc/{process.pid}"):
            os.sched_yield()
    assert command.poll() is None
    assert await pids(trainer) == []


async def test_one_that_had_its_sigterm_gets_no_second_one(processes: RealProcesses) -> None:
    told: list[tuple[int, str]] = []
    trainer = CommandTrainer("SIGTERM", lambda process, name: told.append((process.pid, name)))
    command, _ = processes.python(processes.script("train_me.py", TRAINER), processes.folder / "noted")
    trainer.adopt(command.pid)
    trainer.spare([command.pid])
    (process,) = await trainer.find()
    await trainer.signal(process, "SIGTERM")
    assert await trainer.alive(process)
    await trainer.signal(process, "SIGUSR1")
    assert told == [(command.pid, "SIGUSR1")]
