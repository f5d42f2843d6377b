"""Whom to signal, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class TrainerProcess(NamedTuple):
    """One process, told from a later one with the same number by its start time."""

    pid: int
    started: float
    """Seconds since the epoch."""
    command: str
    """For people."""


class CannotSignal(Exception):
    """The process is there but is not ours to signal. `fix` says what to do."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


class TrainerGone(Exception):
    """The process ended, or its number belongs to another one now."""


class Trainer(Protocol):
    @property
    def configured(self) -> bool:
        """Whether any target is configured at all."""
        ...

    async def find(self) -> Sequence[TrainerProcess]:
        """The processes to signal now, none if there are none. Never ours, never our parents."""
        ...

    async def alive(self, process: TrainerProcess) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        ...

    async def signal(self, process: TrainerProcess, signal_name: str) -> None:
        """Send `SIGUSR1`, … to this very process. Raises TrainerGone, CannotSignal."""
        ...
