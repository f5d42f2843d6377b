"""One interruption, from the notice to the verdict: signal, tell, flush, judge. Everything in it runs under the deadline.

The replicator does the flushing by itself once it knows the deadline; this decides whom to tell, what the evidence is worth, and what to
say. After the verdict it goes on watching: what appears later is committed too, and turns `safe` back to `draining`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from spotguard.core.interruption import Interruption, InterruptionState
from spotguard.core.interruption_document import interruption_document
from spotguard.core.rehearsal import SHUTDOWN
from spotguard.core.status import InterruptionStatus
from spotguard.core.verdict import is_safe, why_unsafe
from spotguard.ports.announcements import Announcements
from spotguard.ports.clock import Clock
from spotguard.services.interruption.drain_course import Course, DrainView, Verdict
from spotguard.services.interruption.final_save import FinalSave
from spotguard.services.interruption.interruption_monitor import InterruptionMonitor
from spotguard.services.interruption.rehearsal import Rehearsal
from spotguard.services.interruption.trainer_signal import TrainerSignal
from spotguard.services.interruption.trainer_watch import TrainerWatch
from spotguard.services.published import Published
from spotguard.services.replication.replication_view import ReplicationView
from spotguard.services.replication.urgency import Urgency

log = structlog.get_logger()

_TICK_SECONDS = 0.2
_DRILL_VERDICT_STANDS_SECONDS = 5.0


class Drain:
    def __init__(
        self,
        *,
        monitor: InterruptionMonitor,
        replication: Published[ReplicationView],
        urgency: Published[Urgency],
        watch: TrainerWatch,
        signals: TrainerSignal,
        announcements: Announcements,
        clock: Clock,
        final_save: FinalSave,
        rehearsal: Rehearsal,
        lift_cap: Callable[[bool], None],
        record: Callable[[InterruptionStatus], Coroutine[Any, Any, None]],
    ) -> None:
        self._monitor = monitor
        self._replication = replication
        self._urgency = urgency
        self._watch = watch
        self._signals = signals
        self._announcements = announcements
        self._clock = clock
        self._final_save = final_save
        self._rehearsal = rehearsal
        self._lift_cap = lift_cap
        self._record = record
        self.view: Published[DrainView] = Published(DrainView())
        self._group: asyncio.TaskGroup | None = None
        self._mine: Urgency | None = None
        """What was published for the interruption that stands."""
        self._before = Urgency()
        """What stood then."""
        self._errands: set[asyncio.Task[None]] = set()

    async def errands_done(self) -> None:
        """Returns when the hooks and the record that the drain has begun so far are done."""
        while self._errands:
            await asyncio.wait(self._errands)

    async def run(self) -> None:
        """Answer interruptions and advice until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            while True:
                state = await self._monitor.state.until(lambda state: state.current is not None)
                if state.current is not None:
                    await self._drain(state.current)

    async def _drain(self, interruption: Interruption) -> None:
        course = Course(interruption, began=self._clock.monotonic(), drill=self._rehearsal.plan)
        self._publish(course)
        await self._tell(course)
        self._hurry(course)
        while (current := self._monitor.state.value.current) is not None and self._is_same(course, current):
            if current != course.interruption:
                await self._take_in_change(course, current)
            await self._judge(course)
            if course.interruption.drill and course.verdict is not None:
                await self._let_the_verdict_stand(course)
                self._monitor.end_drill()
                break
            await self._wait(course)
        if course.interruption.drill and course.verdict is None:
            now = self._monitor.state.value.current
            self._rehearsal.end(course, self._replication.value, taken_over=now.kind.value if now else SHUTDOWN)
        await self._stand_down(course)

    async def _let_the_verdict_stand(self, course: Course) -> None:
        """A while, so that the drill's verdict can be read; a real notice meanwhile waits for nothing."""

        def over(state: InterruptionState) -> bool:
            return state.current is None or not self._is_same(course, state.current)

        try:
            async with asyncio.timeout(_DRILL_VERDICT_STANDS_SECONDS):
                await self._monitor.state.until(over)
        except TimeoutError:
            return

    @staticmethod
    def _is_same(course: Course, current: Interruption) -> bool:
        return current.drill == course.interruption.drill

    async def _tell(self, course: Course) -> None:
        """Signal first: the trainer's save is the largest share of the time that is left."""
        interruption = course.interruption
        await self._final_save.ask(course)
        self._publish(course)
        document = interruption_document(course.status(self._replication.value))
        if not interruption.drill:
            self._spawn(self._announcements.publish_notice(document))
        if self._runs_hooks(course):
            self._spawn(self._announcements.run_hook("on_notice", document))

    @staticmethod
    def _runs_hooks(course: Course) -> bool:
        return not course.interruption.drill or course.drill.hooks

    def _hurry(self, course: Course) -> None:
        self._lift_cap(True)
        since = course.counts_from if course.counts_from is not None else course.began
        drill, found = course.interruption.drill, self._urgency.value
        if found != self._mine:
            if drill and self._mine is not None:
                return  # the daemon is being stopped meanwhile: that goes on
            self._before = found
        self._mine = Urgency(
            reason="save" if drill else "interruption",
            deadline=course.interruption.deadline,
            flush_loose=True,
            keep_all=drill,  # a rehearsal costs the live run no checkpoint
            full_scans_after=since,
        )
        self._urgency.publish(self._mine)

    async def _take_in_change(self, course: Course, current: Interruption) -> None:
        asks_anew = current.signals_trainer and not course.interruption.signals_trainer
        course.interruption = current
        if asks_anew and not course.signalled:
            await self._tell(course)
        self._hurry(course)
        self._publish(course)

    async def _judge(self, course: Course) -> None:
        if await self._final_save.follow(course):
            self._hurry(course)
        now = self._clock.monotonic()
        evidence = course.evidence(self._replication.value, now)
        if is_safe(evidence):
            if course.verdict is None:
                self._say(course, "safe")
        elif course.verdict == "safe" and now < course.interruption.deadline:
            log.warning("drain.resumed", why=why_unsafe(evidence))
            course.verdict = None
        if course.verdict is None and now >= course.interruption.deadline:
            self._say(course, "unsafe", why_unsafe(evidence))
        self._announce_end(course, now)
        self._publish(course)

    def _say(self, course: Course, verdict: Verdict, why: str = "") -> None:
        course.verdict = verdict
        left = course.interruption.deadline - self._clock.monotonic()
        status = course.status(self._replication.value)
        log.warning(
            "drain.finished",
            verdict=verdict,
            why=why,
            kind=course.interruption.kind.value,
            drill=course.interruption.drill,
            seconds=round(self._clock.monotonic() - course.began, 3),
            left_seconds=round(left, 1),
            last_committed=status.last_committed,
            given_up=[given_up.name for given_up in status.given_up],
        )
        self._publish(course)
        if course.interruption.drill:
            self._rehearsal.end(course, self._replication.value, why_unsafe=why)
        else:
            self._spawn(self._record(status))

    def _announce_end(self, course: Course, now: float) -> None:
        """`on_safe` runs once, when the trainer is gone or at the deadline; `on_unsafe` at the deadline."""
        if not self._runs_hooks(course):
            return
        gone = course.interruption.drill or self._trainer_is_gone()
        if course.verdict == "safe" and not course.told_safe and (gone or now >= course.interruption.deadline):
            course.told_safe = True
            self._spawn(self._announcements.run_hook("on_safe", interruption_document(course.status(self._replication.value))))
        if course.verdict == "unsafe" and not course.told_unsafe:
            course.told_unsafe = True
            self._spawn(self._announcements.run_hook("on_unsafe", interruption_document(course.status(self._replication.value))))

    def _trainer_is_gone(self) -> bool:
        return self._watch.configured and not self._signals.awaited and not self._watch.view.value.processes

    async def _wait(self, course: Course) -> None:
        changes = [asyncio.ensure_future(self._replication.changed()), asyncio.ensure_future(self._monitor.state.changed())]
        try:
            await asyncio.wait(changes, timeout=_TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for change in changes:
                change.cancel()
        if course.signalled and not await self._signals.still_running():
            await self._watch.refresh()

    async def _stand_down(self, course: Course) -> None:
        """The notice was withdrawn, the machine outlived it, or the drill is over: back to work."""
        log.info("drain.stood_down", kind=course.interruption.kind.value, verdict=course.verdict)
        self._signals.forget()
        self._watch.told_to_end = False
        if self._urgency.value == self._mine:  # else somebody else is in a hurry since: the daemon is being stopped
            self._urgency.publish(self._before)
            self._lift_cap(self._before.flush_loose)
        self._mine, self._before = None, Urgency()
        if not course.interruption.drill:
            await self._announcements.withdraw_notice()
        self.view.publish(DrainView())

    def _publish(self, course: Course) -> None:
        self.view.publish(course.told(self._replication.value))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._group is not None
        task = self._group.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
