"""Passing a signal on to those who train: to each once, and to a launcher only when its ranks have gone."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from math import inf

from spotguard.adapters.processes.child_command import ChildCommand
from spotguard.adapters.processes.command_trainer import trainers_of
from spotguard.adapters.processes.process_signal import send_signal
from spotguard.adapters.processes.process_table import same_process_runs
from spotguard.ports.trainer import CannotSignal, TrainerGone, TrainerProcess

_LAUNCHER_SECONDS = 2.0
"""How long a launcher may take to end after its ranks have."""


class PassingOn:
    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told: dict[int, str] = {}
        """The last signal that a process was sent, by its number."""
        self._asked: list[TrainerProcess] = []
        self.due = inf
        """Monotonic: when to see what became of a launcher."""

    @property
    def told(self) -> list[int]:
        """Who had a SIGTERM."""
        return [pid for pid, name in self._told.items() if name == "SIGTERM"]

    def note(self, pid: int, signal_name: str) -> None:
        """The guard has sent this signal, for a notice."""
        self._told[pid] = signal_name

    def ask(self, command: ChildCommand, number: int) -> None:
        """Send it to those who train, and to the command itself where nobody else does. A SIGTERM that the guard sent is not sent again."""
        name = signal.Signals(number).name
        trainers = trainers_of(command.pid, number)
        for trainer in trainers:
            if number == signal.SIGTERM and self._told.get(trainer.pid) == name:
                self._asked.append(trainer)
                continue
            try:
                send_signal(trainer, name)
            except TrainerGone:
                continue
            except CannotSignal as reason:
                self._say(f"{reason}; {reason.fix}")
                continue
            self._told[trainer.pid] = name
            self._asked.append(trainer)
        if not trainers:
            command.signal(number)
            self._told[command.pid] = name
        elif number == signal.SIGTERM and all(trainer.pid != command.pid for trainer in trainers):
            self.due = time.monotonic() + _LAUNCHER_SECONDS

    def follow_launcher(self, command: ChildCommand, now: float) -> None:
        """Once the ranks have ended a launcher that goes on, perhaps to the next line of a script, is told too."""
        self.due = now + _LAUNCHER_SECONDS
        if not any(same_process_runs(trainer) for trainer in self._asked):
            self.due = inf
            command.signal(signal.SIGTERM)
