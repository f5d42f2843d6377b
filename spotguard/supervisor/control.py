"""What others may ask of the running daemon (`ports.daemon_control`)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from spotguard.core.checkpoint import CheckpointState
from spotguard.core.rehearsal import Asks, DrillReport
from spotguard.core.status import DaemonState, InterruptionStatus, Status
from spotguard.core.tally import Tally
from spotguard.ports.daemon_control import DrillRefused, FlushOutcome, UnknownCheckpoint
from spotguard.services.interruption.rehearsal import NotNow
from spotguard.services.replication.replication_view import ReplicationView
from spotguard.services.replication.replicator import UnknownName
from spotguard.supervisor.guard import Guard
from spotguard.supervisor.report import Report


class Control:
    def __init__(self, guard: Guard, report: Report) -> None:
        self._guard = guard
        self._report = report

    def status(self) -> Status:
        return self._report.status()

    def durations(self) -> Mapping[str, Tally]:
        return self._guard.durations.tallies

    def ready(self) -> tuple[str, ...]:
        return self._report.unready()

    async def interruption(self, wait_seconds: float) -> InterruptionStatus | None:
        try:
            async with asyncio.timeout(wait_seconds):
                while (pending := self._report.interruption()) is None:
                    await self._something_pending()
                return pending
        except TimeoutError:
            return None

    async def flush(self, wait_seconds: float) -> FlushOutcome:
        began = self._guard.ports.clock.monotonic()
        self._guard.replicator.look_now()
        try:
            async with asyncio.timeout(wait_seconds):
                await self._guard.replicator.view.until(lambda view: view.fully_observed_at >= began and not view.uncommitted)
        except TimeoutError:
            pass  # what is not done by now is named below
        return _outcome(self._guard.replicator.view.value)

    def declare_complete(self, name: str) -> None:
        try:
            self._guard.replicator.declare_complete(name)
        except UnknownName as error:
            raise UnknownCheckpoint(f"no checkpoint {name!r} lies under {self._guard.settings.watch_dir}") from error

    async def drill(self, seconds: float, *, asks: Asks | None = None, hooks: bool = False) -> None:
        state = self._report.state()
        if state is not DaemonState.WATCHING:
            pending = self._report.interruption()
            held = pending is not None and pending.drill
            raise DrillRefused("a drill is held, or has ended just now" if held else f"the daemon is {state.value}")
        try:
            self._guard.rehearsal.begin(seconds, asks, hooks=hooks)
        except NotNow as error:
            raise DrillRefused(str(error)) from error

    async def drill_report(self, wait_seconds: float) -> DrillReport | None:
        report = self._guard.rehearsal.report
        try:
            async with asyncio.timeout(wait_seconds):
                return await report.until(lambda told: told is not None)
        except TimeoutError:
            return report.value

    async def _something_pending(self) -> None:
        drain, advice = self._guard.drain.view, self._guard.advice.shown
        waits = {asyncio.ensure_future(drain.changed()), asyncio.ensure_future(advice.changed())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def _outcome(view: ReplicationView) -> FlushOutcome:
    committed = tuple(c.name for c in view.checkpoints if c.state is CheckpointState.COMMITTED)
    unfinished = tuple((c.name, c.why or c.state.value) for c in view.checkpoints if c.state is not CheckpointState.COMMITTED)
    return FlushOutcome(committed, unfinished)
