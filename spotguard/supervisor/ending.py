"""How the daemon ends: flush what is left, stop writing, say so, and name what did not get out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from spotguard.core.claim import ClaimPhase
from spotguard.core.exit_status import ExitStatus
from spotguard.ports.service_manager import ServiceManager
from spotguard.services.published import Published
from spotguard.services.replication.replication_view import ReplicationView
from spotguard.services.replication.urgency import Urgency
from spotguard.supervisor.guard import Guard
from spotguard.supervisor.report import Report

log = structlog.get_logger()

_RELEASE_SECONDS = 5.0
_LAST_WORDS_SECONDS = 2.0
"""Kept free before the successor begins, for stopping and the release."""
_LEAST_SECONDS = 2.0
"""Even an end that comes after its time gets this much for what is whole."""


@dataclass(frozen=True, slots=True)
class Leave:
    """A way to end."""

    grace_seconds: float | None
    """How long what is left may be flushed. None: for as long as something gets out; only a store that takes nothing ends it."""
    on_saved: Callable[[], Awaitable[None]] | None = None
    """Done when all is committed, while the run is still ours to write."""


class Ending:
    def __init__(self, guard: Guard, report: Report, service_manager: ServiceManager) -> None:
        self._guard = guard
        self._report = report
        self._service_manager = service_manager
        self._asked: Published[Leave | None] = Published(None)
        self._abandon = asyncio.Event()
        self._began = 0.0
        self.succession_over = asyncio.Event()
        """Whoever overtook us has been told that we write no more."""

    @property
    def is_asked(self) -> bool:
        return self._asked.value is not None

    def ask(self, how: Leave) -> None:
        self._asked.publish(how)

    def abandon(self) -> None:
        self._abandon.set()

    async def run(self) -> ExitStatus:
        """Wait until the end is asked for, then bring it about."""
        how = await self._asked.until(lambda asked: asked is not None)
        guard = self._guard
        self._service_manager.stopping()
        if guard.claim.state.value.phase is ClaimPhase.FENCED:
            return ExitStatus.FENCED
        self._report.stopping = True
        guard.monitor.end_drill()  # nobody dies for a rehearsal, nor lives longer
        self._began = guard.ports.clock.monotonic()
        done = False
        while how is not None and not done:
            asked, done = how, await self._flush(how)
            how = self._asked.value if self._asked.value is not asked else None
        return await self._conclude(done)

    async def _flush(self, how: Leave) -> bool:
        """Whether nothing is left. Returns early when another way to end is asked for."""
        guard = self._guard
        now = guard.ports.clock.monotonic()
        deadline = self._deadline(how, now)
        reason = guard.urgency.value.reason if guard.urgency.value.draining or deadline is None else "shutdown"
        guard.urgency.publish(
            Urgency(reason=reason, deadline=deadline, flush_loose=True, keep_all=deadline is None, full_scans_after=self._began)
        )
        guard.lift_cap(True)
        log.info("daemon.stopping", grace_seconds=None if deadline is None else round(deadline - now, 1))
        if not guard.settings.writes:
            return True
        return await self._until_nothing_left(how, deadline)

    def _deadline(self, how: Leave, now: float) -> float | None:
        """The nearest of the grace, the deadline of an interruption that stands, and the moment at which a successor begins."""
        guard = self._guard
        ends = [] if how.grace_seconds is None else [now + max(how.grace_seconds, _LEAST_SECONDS)]
        if (urgent := guard.urgency.value.deadline) is not None and urgent > now:
            ends.append(urgent)
        if (finish_by := guard.claim.state.value.finish_by) is not None:
            ends.append(max(now, finish_by - _LAST_WORDS_SECONDS))
        return min(ends, default=None)

    async def _until_nothing_left(self, how: Leave, deadline: float | None) -> bool:
        def nothing_left(view: ReplicationView) -> bool:
            return view.fully_observed_at >= self._began and view.nothing_left and view.loose_flushed_at >= self._began

        guard = self._guard
        flushed = asyncio.ensure_future(guard.replicator.view.until(nothing_left))
        stands_still = asyncio.ensure_future(self._nothing_moves()) if deadline is None else None
        others = [
            asyncio.ensure_future(self._abandon.wait()),
            asyncio.ensure_future(self._asked.until(lambda asked: asked is not how)),
            asyncio.ensure_future(guard.claim.state.until(lambda state: state.phase is ClaimPhase.FENCED)),
            *([stands_still] if stands_still else []),
        ]
        extend = asyncio.ensure_future(self._extend_timeout(deadline))
        try:
            left = None if deadline is None else max(0.0, deadline - guard.ports.clock.monotonic())
            await asyncio.wait({flushed, *others}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            return flushed.done()
        finally:
            for task in (flushed, *others, extend):
                task.cancel()

    async def _nothing_moves(self) -> None:
        """Returns when nothing was sent or committed for as long as SIGTERM would have been given."""
        guard, patience = self._guard, max(self._guard.settings.shutdown_grace_seconds, self._guard.settings.settle_seconds + 5.0)
        while True:
            before = guard.throughput.total_bytes, guard.replicator.view.value.last_commit
            await asyncio.sleep(patience)
            if before == (guard.throughput.total_bytes, guard.replicator.view.value.last_commit):
                log.error("daemon.stands_still", seconds=patience, error=guard.health.status.value.error)
                return

    async def _extend_timeout(self, deadline: float | None) -> None:
        clock = self._guard.ports.clock
        while deadline is None or clock.monotonic() < deadline:
            self._service_manager.extend_timeout(30.0 if deadline is None else min(30.0, deadline - clock.monotonic() + 5.0))
            await asyncio.sleep(10)

    async def _conclude(self, done: bool) -> ExitStatus:
        guard, view = self._guard, self._guard.replicator.view.value
        how = self._asked.value
        if done and not view.failed and how is not None and how.on_saved is not None:
            await how.on_saved()
        if guard.settings.writes and guard.settings.claims:
            try:
                await asyncio.wait_for(self._let_go(), _RELEASE_SECONDS)
            except TimeoutError:
                log.warning("claim.not_released", reason="the store did not answer")
            if guard.claim.state.value.phase is ClaimPhase.FENCED:
                log.error("daemon.fenced", left_unsaved=list(view.left_unsaved))
                return ExitStatus.FENCED
        left = list(view.left_unsaved) if guard.settings.writes else []
        if done and not left:
            log.info("daemon.stopped", left_unsaved=[])
            return ExitStatus.DONE
        log.error("daemon.stopped", left_unsaved=left, loose_pending=view.loose_pending)
        return ExitStatus.UNCOMMITTED

    async def _let_go(self) -> None:
        """Stop writing, then say that we have stopped: never the other way round."""
        guard = self._guard
        if guard.claim.state.value.phase is ClaimPhase.FENCED:
            await self.succession_over.wait()  # the release is being written already
            return
        await guard.replicator.halt()
        await guard.claim.release()
