"""Signals the trainer once per process and notice, also across a restart of the daemon, and knows when it has gone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from spotguard.core.problem import ProblemCode
from spotguard.ports.announcements import SignalJournal
from spotguard.ports.clock import Clock
from spotguard.ports.trainer import CannotSignal, Trainer, TrainerGone, TrainerProcess
from spotguard.services.problem_board import ProblemBoard

log = structlog.get_logger()


class TrainerSignal:
    def __init__(self, trainer: Trainer, journal: SignalJournal, problems: ProblemBoard, clock: Clock) -> None:
        self._trainer = trainer
        self._journal = journal
        self._problems = problems
        self._clock = clock
        self.awaited: set[TrainerProcess] = set()
        """Signalled for the interruption that stands, and not known to be gone."""
        self.signalled_at: datetime | None = None

    async def send(self, processes: Sequence[TrainerProcess], signal_name: str, notice_id: str) -> None:
        """Signal those that were not signalled for this notice yet. Never raises: what can not be signalled is a problem."""
        done = await self._journal.read()
        for process in processes:
            entry = f"{notice_id} {process.pid} {process.started:.2f}"
            earlier = next((known for known in done if known.startswith(f"{entry} ")), None)
            if earlier is not None:  # by us, or by the daemon that ran before this one
                self.awaited.add(process)
                self.signalled_at = self.signalled_at or _moment_of(earlier)
                continue
            await self._send_one(process, signal_name, entry)

    async def ask_checkpoint(self, processes: Sequence[TrainerProcess], signal_name: str, notice_id: str) -> None:
        """Ask for a save after which the trainer goes on: nobody waits for its end."""
        before, at = set(self.awaited), self.signalled_at
        await self.send(processes, signal_name, notice_id)
        self.awaited, self.signalled_at = before, at

    async def still_running(self) -> bool:
        """Whether one of those that were signalled lives."""
        for process in list(self.awaited):
            if not await self._trainer.alive(process):
                self.awaited.discard(process)
                log.info("trainer.exited", pid=process.pid)
        return bool(self.awaited)

    def forget(self) -> None:
        """The interruption is over."""
        self.awaited.clear()
        self.signalled_at = None

    async def _send_one(self, process: TrainerProcess, signal_name: str, entry: str) -> None:
        now = self._clock.wall()  # before it: who is signalled may write at once
        try:
            await self._trainer.signal(process, signal_name)
        except TrainerGone:
            log.info("trainer.exited", pid=process.pid)
            return
        except CannotSignal as error:
            self._problems.raise_(ProblemCode.CANNOT_SIGNAL, str(error), error.fix)
            return
        self.awaited.add(process)
        self.signalled_at = self.signalled_at or now
        self._problems.clear(ProblemCode.CANNOT_SIGNAL)
        log.warning("trainer.signalled", pid=process.pid, signal=signal_name, command=process.command[:200])
        await self._journal.add(f"{entry} {now.timestamp():.3f}")


def _moment_of(entry: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(entry.rpartition(" ")[2]), UTC)
    except (ValueError, OverflowError, OSError):
        return None  # a damaged one still says that it was signalled
