"""Who trains, of a tree of processes that a launcher started: the ranks, not the launcher, nor what stands beside them.

Told by command lines alone, because a launcher and its ranks need not share a word. Sources: torchrun's and `accelerate launch`'s ranks
are its direct children (torch/distributed/elastic/multiprocessing), DeepSpeed's are those of `deepspeed.launcher.launch`, which is a child
of `deepspeed`; Composer's are children of `composer`. A shell, sudo, uv or mpirun starts what it is told to.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from spotguard.core.process_facts import ProcessFacts, base_name, python_program

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ash", "ksh", "fish", "busybox"})
WRAPPERS = frozenset(
    {
        *("sudo", "doas", "su", "runuser", "setpriv", "unshare", "nsenter", "chroot", "systemd-run"),
        *("env", "nice", "ionice", "nohup", "time", "timeout", "stdbuf", "numactl", "taskset", "chrt", "script", "unbuffer", "flock"),
        *("tini", "dumb-init", "catatonit", "docker-init", "xvfb-run", "make", "just"),
        *("uv", "uvx", "poetry", "pipenv", "pdm", "hatch", "rye", "pixi", "conda", "mamba", "micromamba"),
        *("mpirun", "mpiexec", "orterun", "prterun", "prted", "orted", "hydra_pmi_proxy", "hydra_bstrap_proxy"),
        *("nsys", "ncu", "perf", "strace", "ltrace", "valgrind", "py-spy"),
    }
)
"""Programs that run another one and wait for it."""

PYTHON_LAUNCHERS = frozenset(
    {
        *("torchrun", "accelerate", "accelerate-launch", "deepspeed", "ds", "composer", "horovodrun", "colossalai", "torchx"),
        *("torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch", "accelerate.commands.accelerate_cli"),
        *("deepspeed.launcher.runner", "deepspeed.launcher.launch", "composer.cli.launcher", "horovod.runner.launch"),
        *("poetry", "pipenv", "pdm", "hatch", "conda", "mamba"),
    }
)
"""Scripts and modules of Python that start the ranks as processes of their own."""

_BESIDE = frozenset(
    {
        *("tee", "cat", "tail", "head", "grep", "egrep", "sed", "awk", "gawk", "mawk", "ts", "logger", "multilog", "rotatelogs", "sleep"),
        *("nvidia-smi", "dcgmi", "rocm-smi", "top", "htop", "vmstat", "iostat", "watch", "inotifywait", "aws", "rclone", "s5cmd"),
        *("tensorboard", "wandb-core", "wandb", "mlflow", "ssh-agent", "gpg-agent"),
    }
)
"""What a script runs beside its trainer. A signal would end it, and with it perhaps the pipe that the trainer prints into."""

_PYTHON_OF_MULTIPROCESSING = re.compile(r"from multiprocessing\.(resource_tracker|semaphore_tracker|forkserver) import")


def is_launcher(process: ProcessFacts) -> bool:
    """Whether it only starts the trainer and waits: a shell, a wrapper, torchrun and its like."""
    if not process.arguments:
        return False
    name = base_name(process.arguments[0]).lstrip("-")  # a login shell is called -bash
    if name in SHELLS or name in WRAPPERS or name in PYTHON_LAUNCHERS:
        return True
    program = python_program(process.arguments)
    return program is not None and (program in PYTHON_LAUNCHERS or base_name(program) in PYTHON_LAUNCHERS)


def trainers_below(root: int, table: Collection[ProcessFacts], signal_number: int | None = None) -> tuple[ProcessFacts, ...]:
    """The processes that train, of `root` and what runs below it; sorted by pid, none below another.

    A launcher is not among them but what it started is, down to the first that is no launcher; what that started itself (DataLoader
    workers, compilers, Lightning's further ranks, to whom it hands signals on) is its own affair. A shell is the trainer itself where it
    traps the signal, or has nothing below it that could train."""
    tree = _Tree(table, signal_number)
    return tuple(sorted(tree.trainers(root)))


class _Tree:
    def __init__(self, table: Collection[ProcessFacts], signal_number: int | None) -> None:
        self._by_pid = {process.pid: process for process in table}
        self._children: dict[int, list[int]] = {}
        for process in table:
            self._children.setdefault(process.ppid, []).append(process.pid)
        self._signal_number = signal_number
        self._seen: set[int] = set()
        """A table is one look at a moving target: it need not be a tree."""

    def trainers(self, pid: int) -> list[ProcessFacts]:
        process = self._by_pid.get(pid)
        if pid in self._seen or process is None or process.zombie or not process.arguments or _stands_beside(process):
            return []
        self._seen.add(pid)
        if not is_launcher(process) or self._traps(process):
            return [process]
        below = [trainer for child in self._children.get(pid, ()) for trainer in self.trainers(child)]
        return below or ([process] if _is_shell(process) else [])

    def _traps(self, process: ProcessFacts) -> bool:
        """A shell catches SIGTERM or SIGUSR1 only for a script that says so."""
        return self._signal_number is not None and _is_shell(process) and bool(process.caught >> (self._signal_number - 1) & 1)


def _is_shell(process: ProcessFacts) -> bool:
    return base_name(process.arguments[0]).lstrip("-") in SHELLS


def _stands_beside(process: ProcessFacts) -> bool:
    program = python_program(process.arguments)
    names = {base_name(process.arguments[0]), base_name(program) if program else ""}
    return bool(names & _BESIDE) or any(_PYTHON_OF_MULTIPROCESSING.match(word) for word in process.arguments[1:4])
