"""Answers what is announced but stops nothing: a rebalance asks for one more checkpoint, a maintenance is shown."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from spotguard.core.interruption import Advice
from spotguard.core.interruption_document import interruption_document
from spotguard.core.status import InterruptionStatus
from spotguard.ports.announcements import Announcements
from spotguard.ports.clock import Clock
from spotguard.services.interruption.interruption_monitor import InterruptionMonitor
from spotguard.services.interruption.trainer_signal import TrainerSignal
from spotguard.services.interruption.trainer_watch import TrainerWatch
from spotguard.services.published import Published
from spotguard.services.replication.urgency import Urgency

log = structlog.get_logger()


class AdviceAnswer:
    """The state stays `watching`; a real interruption takes over, and the advice is forgotten with it."""

    def __init__(
        self,
        *,
        checkpoint_signal: str | None,
        monitor: InterruptionMonitor,
        watch: TrainerWatch,
        signals: TrainerSignal,
        announcements: Announcements,
        urgency: Published[Urgency],
        clock: Clock,
    ) -> None:
        self._checkpoint_signal = checkpoint_signal
        self._monitor = monitor
        self._watch = watch
        self._signals = signals
        self._announcements = announcements
        self._urgency = urgency
        self._clock = clock
        self.shown: Published[InterruptionStatus | None] = Published(None)

    async def run(self) -> None:
        """Answer each advice once, until cancelled."""
        answered: str | None = None
        while True:
            state = self._monitor.state.value
            if state.current is not None:
                answered = None
                self.shown.publish(None)
            elif state.advice is None:
                if answered is not None:
                    await self._announcements.withdraw_notice()
                answered = None
                self.shown.publish(None)
            elif state.advice.id != answered:
                answered = state.advice.id
                await self._answer(state.advice)
            if self._monitor.state.value == state:
                await self._monitor.state.changed()

    async def _answer(self, advice: Advice) -> None:
        status = InterruptionStatus(advice.kind, False, advice.time, advice.detected_at, advice.deadline_at)
        self.shown.publish(status)
        log.warning("advice.received", kind=advice.kind.value, text=advice.text)
        if not advice.asks_checkpoint:
            return
        if self._checkpoint_signal:
            await self._signals.ask_checkpoint(self._watch.view.value.processes, self._checkpoint_signal, advice.id)
        document = interruption_document(status)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._announcements.publish_notice(document))
            group.create_task(self._announcements.run_hook("on_notice", document))
        self._urgency.publish(replace(self._urgency.value, full_scans_after=self._clock.monotonic()))
