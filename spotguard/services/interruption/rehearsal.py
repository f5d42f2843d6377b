"""Drills: begins one when it may, and tells what it came to."""

from __future__ import annotations

from dataclasses import replace

import structlog

from spotguard.core.rehearsal import Asks, DrillReport, Rehearsed, conclude
from spotguard.core.status import ExposureStatus
from spotguard.services.interruption.drain_course import Course, DrillPlan
from spotguard.services.interruption.final_save import SignalSettings
from spotguard.services.interruption.interruption_monitor import InterruptionMonitor
from spotguard.services.interruption.prospects import Prospects
from spotguard.services.published import Published
from spotguard.services.replication.replication_view import ReplicationView

log = structlog.get_logger()


class NotNow(Exception):
    """This drill can not be held. `str()` says why, and what to do."""


class Rehearsal:
    """`report` is of the last drill that has ended; None while one is held, and before the first."""

    def __init__(self, monitor: InterruptionMonitor, prospects: Prospects, settings: SignalSettings) -> None:
        self._monitor = monitor
        self._prospects = prospects
        self._settings = settings
        self._before = ExposureStatus()
        self.plan = DrillPlan()
        self.report: Published[DrillReport | None] = Published(None)

    def begin(self, seconds: float, asks: Asks | None, *, hooks: bool) -> None:
        """Start a drill with a notice that leaves `seconds`. `asks` None: a save after which the trainer goes on, where there is a signal
        for it, else nothing. Raises NotNow."""
        if asks is None:
            asks = Asks.SAVE if self._settings.checkpoint_signal else Asks.NOTHING
        if asks is not Asks.NOTHING and self._settings.for_drill(asks) is None:
            key = "trainer.checkpoint_signal" if asks is Asks.SAVE else "trainer.signal"
            raise NotNow(f"{key} is not set, so there is no signal to ask the trainer with")
        exposure = self._prospects.exposure()
        if self._monitor.announce_drill(seconds, signals_trainer=asks is not Asks.NOTHING) is None:
            raise NotNow("a real notice is pending, or another drill is held")
        self._before, self.plan = exposure, DrillPlan(asks, hooks)
        self.report.publish(None)

    def end(self, course: Course, view: ReplicationView, *, why_unsafe: str = "", taken_over: str | None = None) -> None:
        """The drill has its verdict, or was given up for a real notice of this kind."""
        status = course.status(view)
        seen = Rehearsed(
            asks=course.drill.asks,
            notice_seconds=course.interruption.deadline - course.began,
            signal=self._settings.for_drill(course.drill.asks) or self._settings.signal,
            safe=course.verdict == "safe",
            why_unsafe=why_unsafe,
            given_up=status.given_up,
            trainer_ended=course.trainer_ended,
            steps_at_risk=self._before.steps_at_risk_estimate,
            last_commit_seconds=self._before.seconds_since_last_commit,
            outlook=self._prospects.outlook(course.interruption.deadline - course.began),
            taken_over=taken_over,
            notice_file=self._settings.notice_file,
        )
        if course.signalled_at is not None:
            seen = replace(seen, signalled_seconds=course.signalled_at - course.began)
        if course.final_save_at is not None:
            committed = course.final_save_at - course.began
            seen = replace(seen, committed_seconds=committed, saved_seconds=course.final_save_seconds, checkpoint=course.final_save)
        report = conclude(seen)
        log.warning("drill.concluded", passed=report.passed, sentence=report.sentence)
        self.report.publish(report)
