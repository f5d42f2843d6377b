"""Who trains, below a command that may be a launcher."""

from __future__ import annotations

import signal

import pytest

from spotguard.core.launchers import trainers_below
from spotguard.core.process_facts import ProcessFacts

RANK = "/venv/bin/python -u train.py --local_rank=0"


def process(pid: int, ppid: int, command: str, *, caught: int = 0, zombie: bool = False) -> ProcessFacts:
    return ProcessFacts(pid, ppid, tuple(command.split()), float(pid), zombie, caught)


def below(*table: ProcessFacts, signal_number: int | None = None) -> list[int]:
    return [facts.pid for facts in trainers_below(table[0].pid, table, signal_number)]


def test_a_command_that_is_no_launcher_is_the_trainer_whatever_it_started() -> None:
    workers = [process(pid, 100, "python train.py") for pid in (101, 102)]
    others = [process(103, 100, "python -c from multiprocessing.resource_tracker import main;main(7)"), process(104, 100, "gcc -c x.c")]
    assert below(process(100, 1, "python train.py"), *workers, *others) == [100]
    assert below(process(100, 1, "./train.bin --steps 5")) == [100]


@pytest.mark.parametrize(
    "launcher",
    [
        "/venv/bin/python3.12 /venv/bin/torchrun --nproc-per-node 2 train.py",
        "python -m torch.distributed.run --standalone train.py",
        "python -X importtime -m torch.distributed.launch train.py",
        "/venv/bin/python /venv/bin/accelerate launch --num_processes 2 train.py",
        "python -m accelerate.commands.launch train.py",
        "python /venv/bin/composer -n 2 train.py",
        "mpirun -np 2 python train.py",
        "sudo -E python train.py",
        "uv run train.py",
        "bash train.sh",
        "-bash",
    ],
)
def test_the_ranks_are_the_trainers_and_not_the_launcher(launcher: str) -> None:
    assert below(process(100, 1, launcher), process(101, 100, RANK), process(102, 100, RANK), process(103, 101, RANK)) == [101, 102]


def test_launchers_below_launchers_are_followed() -> None:
    table = [
        process(100, 1, "bash train.sh"),
        process(101, 100, "python /venv/bin/deepspeed --num_gpus 2 train.py"),
        process(102, 101, "/venv/bin/python -u -m deepspeed.launcher.launch --world_info=e30= train.py"),
        process(103, 102, RANK),
        process(104, 102, RANK),
    ]
    assert below(*table) == [103, 104]


def test_what_a_script_runs_beside_its_trainer_is_left_alone() -> None:
    beside = ["tee train.log", "tail -f x", "/usr/bin/python3 /venv/bin/tensorboard --logdir out", "nvidia-smi dmon", "sleep 60"]
    table = [process(100, 1, "sh -c train"), process(101, 100, RANK), *(process(102 + at, 100, words) for at, words in enumerate(beside))]
    assert below(*table) == [101]


def test_a_shell_is_the_trainer_where_nothing_below_it_could_be() -> None:
    assert below(process(100, 1, "sh trainer.sh"), process(101, 100, "sleep 1")) == [100]
    assert below(process(100, 1, "sh trainer.sh"), process(101, 100, "cp -r a b", zombie=True)) == [100]


def test_a_shell_that_traps_the_signal_wants_it_itself() -> None:
    trap = 1 << (signal.SIGUSR1 - 1)
    table = process(100, 1, "bash train.sh", caught=trap), process(101, 100, RANK)
    assert below(*table, signal_number=signal.SIGUSR1) == [100]
    assert below(*table, signal_number=signal.SIGTERM) == [101]
    torchrun = process(100, 1, "python /venv/bin/torchrun train.py", caught=trap)
    assert below(torchrun, process(101, 100, RANK), signal_number=signal.SIGUSR1) == [101]


def test_a_launcher_that_has_not_started_anything_yet_means_nobody() -> None:
    assert below(process(100, 1, "python /venv/bin/torchrun train.py")) == []
    assert below(process(100, 1, "python train.py", zombie=True)) == []
    assert trainers_below(7, ()) == ()


def test_a_ring_of_parents_ends() -> None:
    assert below(process(5, 6, "bash a"), process(6, 5, "bash b")) == [6]
