"""The trainer as a container: its ranks by their numbers on this host, or, where those cannot be seen, the container by its engine."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Sequence

import structlog

from spotguard.adapters.processes.command_trainer import trainers_of
from spotguard.adapters.processes.container_engine import (
    ContainerEngine,
    EngineUnavailable,
    NoSuchContainer,
    RunningContainer,
    engine_socket,
)
from spotguard.adapters.processes.process_signal import send_signal
from spotguard.adapters.processes.process_table import process_facts, same_process_runs
from spotguard.adapters.processes.process_trainer import ProcessTrainer, is_ours
from spotguard.ports.trainer import CannotSignal, TrainerGone, TrainerProcess

log = structlog.get_logger()

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_START_SECONDS = 10.0
"""Between the start of a container's first process and the time that the engine notes."""


class ContainerTrainer(ProcessTrainer):
    """`trainer.docker_container`.

    Beside the engine the numbers are those of this host, and who trains in the container is told as below `spotguard run`. In another
    PID namespace (spotguard in a container of its own, with the engine's socket) the engine sends the signal to the first process."""

    def __init__(self, container: str, *, socket_path: str | None = None, signal_name: str | None = None) -> None:
        """Raises ValueError for what cannot be a container's name or id."""
        if not _NAME.fullmatch(container):
            raise ValueError(f"trainer.docker_container: {container!r} is no name of a container")
        self._container = container
        self._engine = ContainerEngine(socket_path or engine_socket(os.environ))
        self._number = signal.Signals[signal_name].value if signal_name else None
        self._complaint: str | None = None
        self._launchers: set[int] = set()
        """First processes below which others were seen to train: they are nobody's trainer when those have ended."""

    @property
    def configured(self) -> bool:
        return True

    async def find(self) -> Sequence[TrainerProcess]:
        try:
            running = await self._engine.inspect(self._container)
        except NoSuchContainer:
            return ()
        except EngineUnavailable as error:
            if str(error) != self._complaint:
                log.warning("container.lookup_failed", container=self._container, reason=str(error), fix=error.fix)
            self._complaint = str(error)
            return ()
        self._complaint = None
        if not await asyncio.to_thread(_is_here, running):
            return (self._by_engine(running),)
        if is_ours(running.pid):
            log.warning("container.lookup_failed", container=self._container, reason="spotguard itself runs in it; use `spotguard run`")
            return ()
        found = await asyncio.to_thread(trainers_of, running.pid, self._number)
        if any(trainer.pid != running.pid for trainer in found):
            self._launchers.add(running.pid)
        return tuple(trainer for trainer in found if trainer.pid not in self._launchers)

    async def alive(self, process: TrainerProcess) -> bool:
        if same_process_runs(process):
            return True
        try:
            return self._by_engine(await self._engine.inspect(self._container)) == process
        except NoSuchContainer:
            return False
        except EngineUnavailable:
            return process.command == self._command  # nothing speaks against it, and a drain waits no longer than its deadline

    async def signal(self, process: TrainerProcess, signal_name: str) -> None:
        if process.command != self._command:
            send_signal(process, signal_name)
            return
        try:
            if self._by_engine(await self._engine.inspect(self._container)) != process:
                raise NoSuchContainer
            await self._engine.kill(self._container, signal_name)
        except NoSuchContainer as error:
            raise TrainerGone(f"{self._command} (process {process.pid}) has ended") from error
        except EngineUnavailable as error:
            raise CannotSignal(f"{signal_name} to {self._command}: {error}", error.fix) from error

    @property
    def _command(self) -> str:
        """What stands for the command of a process that only the engine sees."""
        return f"container {self._container}"

    def _by_engine(self, running: RunningContainer) -> TrainerProcess:
        return TrainerProcess(running.pid, round(running.started_at, 2), self._command)


def _is_here(running: RunningContainer) -> bool:
    """Whether the number means the container's process here too: in another PID namespace it is nobody's, or somebody else's."""
    facts = process_facts(running.pid)
    return facts is not None and not facts.zombie and abs(facts.started - running.started_at) < _START_SECONDS
