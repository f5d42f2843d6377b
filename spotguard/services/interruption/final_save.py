"""Asks the trainer for one more checkpoint, and knows whether it has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import structlog

from spotguard.core.rehearsal import Asks
from spotguard.ports.clock import Clock
from spotguard.services.interruption.drain_course import Course
from spotguard.services.interruption.prospects import Prospects
from spotguard.services.interruption.trainer_signal import TrainerSignal
from spotguard.services.interruption.trainer_watch import TrainerWatch
from spotguard.services.published import Published
from spotguard.services.replication.replication_view import ReplicationView

log = structlog.get_logger()

_CLOCK_GRAIN_NS = 10_000_000
"""Files get their times from a clock that is up to this much behind (Linux `current_time`)."""


@dataclass(frozen=True, slots=True)
class SignalSettings:
    signal: str | None = None
    """At a notice."""
    checkpoint_signal: str | None = None
    """After which the trainer saves and goes on."""
    signal_when: Literal["fits", "always"] = "fits"
    notice_file: bool = False
    """Whether a notice is told by a file, too."""

    def for_drill(self, asks: Asks) -> str | None:
        return {Asks.NOTHING: None, Asks.SAVE: self.checkpoint_signal, Asks.STOP: self.signal}[asks]


class FinalSave:
    def __init__(
        self,
        settings: SignalSettings,
        *,
        watch: TrainerWatch,
        signals: TrainerSignal,
        prospects: Prospects,
        replication: Published[ReplicationView],
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._watch = watch
        self._signals = signals
        self._prospects = prospects
        self._replication = replication
        self._clock = clock

    async def ask(self, course: Course) -> None:
        """Signal whoever is to be signalled; the course says whether anybody was. What is signalled is waited for."""
        signal_name = self._signal_for(course)
        if signal_name is not None:
            known = self._watch.view.value.processes
            await self._signals.send(known, signal_name, course.interruption.id)
            course.signalled = bool(self._signals.awaited)
            if course.signalled:
                self._watch.told_to_end = signal_name == self._settings.signal
                course.signalled_at = self._clock.monotonic()
            found = await self._watch.refresh()
            await self._signals.send([p for p in found if p not in known], signal_name, course.interruption.id)
            if not found and not known:
                self._watch.say_not_found()
        course.signalled = bool(self._signals.awaited)
        if not course.signalled:
            course.counts_from = self._clock.monotonic()
        elif course.signalled_at is None:
            course.signalled_at = self._clock.monotonic()

    async def follow(self, course: Course) -> bool:
        """Whether the trainer has just exited, or its final save was just found committed: scans count from now.

        A save that a trainer made before it exited is often committed only afterwards: it is looked for until it is found."""
        if not course.signalled:
            return False
        if course.final_save is None:
            self._look_for_it(course)
        if course.counts_from is not None:
            return False
        running = await self._signals.still_running()
        if running and course.final_save is None:
            return False
        course.trainer_ended = not running
        course.counts_from = self._clock.monotonic()
        return True

    def _look_for_it(self, course: Course) -> None:
        """The final save is a checkpoint all of whose files were written after the signal. Where the trainer ended upon a save that was
        under way when the signal came, it is that one: at a step that is just being saved there is nothing more to save."""
        signalled_at = self._signals.signalled_at
        if signalled_at is None:
            return
        since = int(signalled_at.timestamp() * 1e9)
        saves = self._replication.value.saves
        final = [save for save in saves if (save.last_ns if course.trainer_ended else save.first_ns) >= since - _CLOCK_GRAIN_NS]
        if final:
            course.final_save = final[0].name
            course.final_save_at = self._clock.monotonic()
            course.final_save_seconds = max(0.0, (final[0].last_ns - since) / 1e9)
            log.info("drain.final_save_committed", name=course.final_save)

    def _signal_for(self, course: Course) -> str | None:
        if course.interruption.drill:
            return self._settings.for_drill(course.drill.asks)
        if not course.interruption.signals_trainer or not self._settings.signal:
            return None
        return self._settings.signal if self._is_worth_it(course) else None

    def _is_worth_it(self, course: Course) -> bool:
        """Whether a save that is asked for now can still be written and sent. What was never measured counts as fitting."""
        if self._settings.signal_when == "always":
            return True
        ahead = self._prospects.outlook(course.interruption.deadline - self._clock.monotonic())
        if ahead is None or ahead.fits:
            return True
        log.warning("trainer.not_signalled", reason=f"a save can not fit: {ahead.shortfall}")
        return False
