"""A world with a trainer in it, once in memory and once for each way to find a real process."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Protocol

from spotguard.adapters.processes.asked_trainer import SystemdTrainer
from spotguard.adapters.processes.container_trainer import ContainerTrainer
from spotguard.adapters.processes.process_trainer import PidFileTrainer, RegexTrainer
from spotguard.ports.trainer import Trainer, TrainerProcess
from tests.support.fake_engine import FakeEngine
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


class SystemdWorld(RealWorld):
    """`systemctl` is a script that prints a number if it is asked for the right thing."""

    def __init__(self, processes: RealProcesses) -> None:
        super().__init__(processes)
        fake = self.folder / "bin" / "systemctl"
        fake.parent.mkdir()
        expected = "show --property MainPID --value -- train@a.service"
        fake.write_text(f'#!/bin/sh\n[ "$*" = "{expected}" ] || exit 3\ncat "{self.folder}/main-pid" 2>/dev/null || echo 0\n')
        fake.chmod(0o755)
        self.trainer = SystemdTrainer("train@a.service")

    def announce(self, pid: int) -> None:
        (self.folder / "main-pid").write_text(f"{pid}\n")


class ContainerWorld(RealWorld):
    """An engine on a unix socket keeps one container, whose first process is the trainer."""

    shown_beyond = 0
    """Added to the number that the engine tells: of another PID namespace."""

    def __init__(self, processes: RealProcesses) -> None:
        super().__init__(processes)
        self.engine = FakeEngine(self.folder / "engine.sock", "trainer", self.shown_beyond)
        processes.on_end(self.engine.close)
        self.trainer = ContainerTrainer("trainer", socket_path=str(self.engine.path))

    def start(self) -> int:
        return super().start() + self.shown_beyond

    def announce(self, pid: int) -> None:
        self.engine.run(pid)

    async def end(self) -> None:
        await super().end()
        self.engine.stop()

    async def received(self, count: int) -> list[tuple[int, str]]:
        return [(pid + self.shown_beyond, name) for pid, name in await super().received(count)]


class ContainerElsewhereWorld(ContainerWorld):
    shown_beyond = 5_000_000


def path_with(folder: Path) -> str:
    return f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
