"""Knows in advance whom to signal: resolving a pattern takes longer than a notice should wait for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from spotguard.core.problem import ProblemCode, Severity
from spotguard.ports.clock import Clock
from spotguard.ports.trainer import Trainer, TrainerProcess
from spotguard.services.problem_board import ProblemBoard
from spotguard.services.published import Published

log = structlog.get_logger()

FIND_SECONDS = 5.0
_MISSING_SECONDS = 2 * FIND_SECONDS
"""So long nobody is found before it is a problem, however often it is looked."""


@dataclass(frozen=True, slots=True)
class TrainerView:
    processes: tuple[TrainerProcess, ...] = ()


class TrainerWatch:
    def __init__(self, trainer: Trainer, problems: ProblemBoard, clock: Clock) -> None:
        self._trainer = trainer
        self._problems = problems
        self._clock = clock
        self._missing_since: float | None = None
        self.told_to_end = False
        """While an interruption stands for which it was signalled: that it is gone then is no problem."""
        self.view: Published[TrainerView] = Published(TrainerView())

    @property
    def configured(self) -> bool:
        """Whether there is a target at all."""
        return self._trainer.configured

    async def run(self) -> None:
        """Resolve again and again until cancelled; returns at once where nobody is configured."""
        while self._trainer.configured:
            await self.refresh()
            await asyncio.sleep(FIND_SECONDS)

    async def refresh(self) -> tuple[TrainerProcess, ...]:
        """Whom to signal as of now."""
        if not self._trainer.configured:
            return ()
        try:
            found = tuple(await self._trainer.find())
        except Exception as error:  # noqa: BLE001 - a process table that can not be read now must not end a drain
            log.error("trainer.not_looked_for", error=f"{type(error).__name__}: {error}")
            return self.view.value.processes
        if found != self.view.value.processes and found:
            log.info("trainer.found", pids=[process.pid for process in found], command=found[0].command[:200])
        self.view.publish(TrainerView(found))
        now = self._clock.monotonic()
        if found:
            self._missing_since = None
            self._problems.clear(ProblemCode.TRAINER_NOT_FOUND)
        elif self._missing_since is None:
            self._missing_since = now
        elif now - self._missing_since >= _MISSING_SECONDS and not self.told_to_end:
            self.say_not_found()
        return found

    def say_not_found(self) -> None:
        self._problems.raise_(
            ProblemCode.TRAINER_NOT_FOUND,
            "no process matches the trainer target: nobody would be signalled at a notice",
            "check trainer.pid_file, .process, .systemd_unit or .docker_container, and that spotguard shares the trainer's PID namespace",
            Severity.WARNING,
        )
