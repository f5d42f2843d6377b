"""A world with a trainer in it, once in memory and once for each way to find a real process."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Protocol

from spotguard.adapters.asked_trainer import ContainerTrainer, SystemdTrainer
from spotguard.adapters.process_trainer import PidFileTrainer, RegexTrainer
from spotguard.ports.trainer import Trainer, TrainerProcess
from tests.support.memory_trainer import MemoryTrainer
from tests.support.real_processes import TRAINER, RealProcesses


class World(Protocol):
    trainer: Trainer

    def start(self) -> int:
        """Start the trainer; its pid."""
        ...

    async def end(self) -> None:
        """On return it has ended."""
        ...

    async def received(self, count: int) -> list[tuple[int, str]]:
        """The first `count` signals that it noted."""
        ...


class MemoryWorld:
    def __init__(self) -> None:
        self.trainer = MemoryTrainer()
        self._process: TrainerProcess | None = None

    def start(self) -> int:
        self._process = self.trainer.start()
        return self._process.pid

    async def end(self) -> None:
        assert self._process is not None
        self.trainer.exit(self._process)

    async def received(self, count: int) -> list[tuple[int, str]]:
        return self.trainer.signals[:count]


class RealWorld:
    """A real trainer; a subclass says how it is found."""

    trainer: Trainer

    def __init__(self, processes: RealProcesses) -> None:
        self._processes = processes
        self.folder = processes.folder
        self._script = processes.script("train_me.py", TRAINER)
        self._noted = self.folder / "noted"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> int:
        self._process, _ = self._processes.python(self._script, self._noted)
        self.announce(self._process.pid)
        return self._process.pid

    def announce(self, pid: int) -> None:
        """Let the trainer's keeper know of it."""

    async def end(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    async def received(self, count: int) -> list[tuple[int, str]]:
        lines: list[str] = []
        while len(lines) < count:
            await asyncio.sleep(0.01)
            lines = self._noted.read_text().splitlines() if self._noted.exists() else []
        return [(int(line.split()[0]), line.split()[1]) for line in lines]


class RegexWorld(RealWorld):
    def __init__(self, processes: RealProcesses) -> None:
        super().__init__(processes)
        self.trainer = RegexTrainer(f"{self.folder}/train_me")


class PidFileWorld(RealWorld):
    def __init__(self, processes: RealProcesses) -> None:
        super().__init__(processes)
        self.trainer = PidFileTrainer(self.folder / "trainer.pid")

    def announce(self, pid: int) -> None:
        (self.folder / "trainer.pid").write_text(f"{pid}\n")


class AskedWorld(RealWorld):
    """`systemctl` and `docker` are scripts that print a number if they are asked for the right thing."""

    def announce(self, pid: int) -> None:
        (self.folder / "main-pid").write_text(f"{pid}\n")

    def install(self, name: str, expected: str) -> None:
        fake = self.folder / "bin" / name
        fake.parent.mkdir()
        fake.write_text(f'#!/bin/sh\n[ "$*" = "{expected}" ] || exit 3\ncat "{self.folder}/main-pid" 2>/dev/null || echo 0\n')
        fake.chmod(0o755)


class SystemdWorld(AskedWorld):
    def __init__(self, processes: RealProcesses) -> None:
        super().__init__(processes)
        self.install("systemctl", "show --property MainPID --value -- train@a.service")
        self.trainer = SystemdTrainer("train@a.service")


class ContainerWorld(AskedWorld):
    def __init__(self, processes: RealProcesses) -> None:
        super().__init__(processes)
        self.install("docker", "inspect --type container --format {{.State.Pid}} trainer")
        self.trainer = ContainerTrainer("trainer")


def path_with(folder: Path) -> str:
    return f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
