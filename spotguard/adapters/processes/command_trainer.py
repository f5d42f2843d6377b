"""The trainer as the command that `spotguard run` started: its ranks, however many launchers lie between."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Collection, Sequence

from spotguard.adapters.processes.process_table import as_trainer, process_tree
from spotguard.adapters.processes.process_trainer import ProcessTrainer
from spotguard.core.launchers import trainers_below
from spotguard.ports.trainer import TrainerProcess


class CommandTrainer(ProcessTrainer):
    """Nobody until `adopt`, and nobody after `release`."""

    def __init__(self, signal_name: str | None, told: Callable[[TrainerProcess, str], None] = lambda process, signal_name: None) -> None:
        """`signal_name`: the one that will be sent, where that is known: a shell that traps it wants it itself. `told` hears of each."""
        self._pid: int | None = None
        self._number = signal.Signals[signal_name].value if signal_name else None
        self._told = told
        self._terminated: frozenset[int] = frozenset()
        self._has_ranks = False
        """Others than the command itself were seen to train: it is nobody's trainer when they have ended."""

    @property
    def configured(self) -> bool:
        return True

    def adopt(self, pid: int) -> None:
        """The command runs as this process."""
        self._pid = pid

    def release(self) -> None:
        """The command has ended."""
        self._pid = None

    def spare(self, pids: Collection[int]) -> None:
        """These have had their SIGTERM, so that a notice which comes after it does not send a second one."""
        self._terminated = frozenset(pids)

    async def find(self) -> Sequence[TrainerProcess]:
        pid = self._pid
        if pid is None:
            return ()
        found = await asyncio.to_thread(trainers_of, pid, self._number)
        self._has_ranks = self._has_ranks or any(trainer.pid != pid for trainer in found)
        return tuple(trainer for trainer in found if trainer.pid != pid or not self._has_ranks)

    async def signal(self, process: TrainerProcess, signal_name: str) -> None:
        if signal_name == "SIGTERM" and process.pid in self._terminated:
            return
        await super().signal(process, signal_name)
        self._told(process, signal_name)


def trainers_of(pid: int, signal_number: int | None) -> tuple[TrainerProcess, ...]:
    """The processes that train, of the command with this number; never this process itself."""
    return tuple(as_trainer(facts) for facts in trainers_below(pid, process_tree(pid), signal_number) if facts.pid != os.getpid())
