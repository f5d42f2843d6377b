"""Tells the service manager how the daemon is, and that it is alive: fed by the loop that matters, not by this one."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from spotguard.core.phrasing import count
from spotguard.core.problem import Severity
from spotguard.core.status import Status
from spotguard.ports.service_manager import ServiceManager
from spotguard.supervisor.guard import Guard
from spotguard.supervisor.report import Report

log = structlog.get_logger()

_TELL_SECONDS = 10.0
_BEAT_SECONDS = 10.0
_LOOK_SECONDS = 5.0
"""How long a look that was asked for may take. On a slow disk it takes longer: then what has happened since the last time counts."""


class Pulse:
    def __init__(self, guard: Guard, report: Report, service_manager: ServiceManager) -> None:
        self._guard = guard
        self._report = report
        self._service_manager = service_manager
        self._before = (float("-inf"), 0)

    async def run(self) -> None:
        """Until cancelled. A reconcile loop that hangs stops the feeding, and the service manager starts the daemon anew; the
        ordinary start does the rest."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell())
            if (seconds := self._service_manager.watchdog_seconds) is not None:
                group.create_task(self._feed(min(seconds, _BEAT_SECONDS)))

    async def _tell(self) -> None:
        said = ""
        while True:
            if (line := describe(self._report.status())) != said:
                self._service_manager.status(line)
                said = line
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TELL_SECONDS):
                    await self._guard.drain.view.changed()

    async def _feed(self, every_seconds: float) -> None:
        while True:
            await asyncio.sleep(every_seconds)
            if await self._is_alive():
                self._service_manager.watchdog()

    async def _is_alive(self) -> bool:
        """Whether the loop has looked, or bytes have gone out: a slow disk is no reason to throw a running upload away."""
        guard = self._guard
        asked = guard.ports.clock.monotonic()
        guard.schedule.nudge()
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await guard.replicator.looked_at.until(lambda began: began >= asked)
        except TimeoutError:
            log.warning("loop.slow", waited_seconds=_LOOK_SECONDS)
        before, self._before = self._before, (guard.replicator.looked_at.value, guard.throughput.total_bytes)
        return self._before != before


def describe(status: Status) -> str:
    """One line for `systemctl status`: the state, what is still to be sent, and the gravest problem."""
    line = f"{status.state.value}: {count(status.backlog.checkpoints, 'checkpoint')} to send"
    if status.interruption is not None and status.interruption.deadline is not None:
        line += f", {status.interruption.kind} by {status.interruption.deadline:%H:%M:%S} UTC"
    worst = min(status.problems, key=lambda problem: problem.severity is not Severity.ERROR, default=None)
    return f"{line}; {worst.code.value}: {worst.message}" if worst is not None else line
