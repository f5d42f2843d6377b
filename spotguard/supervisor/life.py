"""The life of the daemon as nested scopes: the outermost starts first and dies last, and what is not essential can not take it down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from enum import IntEnum
from typing import Any

import structlog

from spotguard.core.claim import ClaimPhase
from spotguard.core.notice import Instance
from spotguard.ports.metadata_service import MetadataUnavailable
from spotguard.ports.object_store import StoreError
from spotguard.ports.service_manager import ServiceManager
from spotguard.services.replication_view import ReplicationView
from spotguard.services.run_checks import probe_conditions, refuse_nested
from spotguard.services.urgency import Urgency
from spotguard.supervisor.guard import Guard
from spotguard.supervisor.pulse import Pulse
from spotguard.supervisor.report import Report
from spotguard.supervisor.succession import announce_drains, finish_for_successor

log = structlog.get_logger()

_GUARDED_DELAYS = (1.0, 5.0, 30.0)
_IDENTITY_SECONDS = 60.0
_RELEASE_SECONDS = 5.0
_CHECK_AGAIN_SECONDS = 5.0
_LAST_WORDS_SECONDS = 2.0
"""Kept free before the successor begins, for stopping and the release."""
_GOOD_LIFE_SECONDS = 600.0
"""A service that ran this long before it crashed is as good as new."""


class End(IntEnum):
    """How the daemon ends, as its exit status (DESIGN.md section 5)."""

    DONE = 0
    LEFT_UNSAVED = 6
    FENCED = 7


@asynccontextmanager
async def running(work: Callable[[], Awaitable[Any]], name: str) -> AsyncIterator[None]:
    """`work` runs beside the body; it is cancelled and awaited at the body's end, and its failure ends the body."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_awaited(work), name=name)
        yield
        task.cancel()


async def guarded(work: Callable[[], Awaitable[Any]], name: str) -> None:
    """Run again after a crash, and give it up after too many in a row: it is no reason to stop a drain."""
    loop, crashes = asyncio.get_running_loop(), 0
    while True:
        began = loop.time()
        try:
            await work()
            return
        except Exception as error:  # noqa: BLE001 - any bug of a service that is not essential ends here
            crashes = 0 if loop.time() - began > _GOOD_LIFE_SECONDS else crashes
            given_up = crashes >= len(_GUARDED_DELAYS)
            log.error("service.crashed", service=name, error=f"{type(error).__name__}: {error}", given_up=given_up)
            if given_up:
                return
            await asyncio.sleep(_GUARDED_DELAYS[crashes])
            crashes += 1


class Life:
    def __init__(
        self,
        guard: Guard,
        report: Report,
        service_manager: ServiceManager,
        *,
        edges: Callable[[], list[tuple[str, Callable[[], Awaitable[Any]]]]],
    ) -> None:
        """`edges` are what the assembly adds beside the services: the HTTP server, the change hints."""
        self._guard = guard
        self._report = report
        self._service_manager = service_manager
        self._edges = edges
        self._stop = asyncio.Event()
        self._abandon = asyncio.Event()
        self._succession_over = asyncio.Event()

    def stop(self) -> None:
        """SIGTERM: flush and end. The second time: end now."""
        (self._abandon if self._stop.is_set() else self._stop).set()

    async def live(self) -> End:
        """Guard the run until `stop`; returns the exit status, after everything that was started has ended."""
        guard = self._guard
        pulse = Pulse(guard, self._report, self._service_manager)
        async with AsyncExitStack() as scopes:
            for name, edge in self._edges():
                await scopes.enter_async_context(running(_guarded(edge, name), name))
            await scopes.enter_async_context(running(_guarded(guard.hooks.run, "hooks"), "hooks"))
            await scopes.enter_async_context(running(_guarded(pulse.run, "pulse"), "pulse"))
            await scopes.enter_async_context(running(_guarded(self._identify, "identity"), "identity"))
            await scopes.enter_async_context(running(guard.monitor.run, "interruption monitor"))
            await scopes.enter_async_context(running(_guarded(guard.trainer_watch.run, "trainer watch"), "trainer watch"))
            await scopes.enter_async_context(running(_guarded(guard.janitor.run, "janitor"), "janitor"))
            await scopes.enter_async_context(running(_guarded(guard.vigil.run, "vigil"), "vigil"))
            await scopes.enter_async_context(running(guard.replicator.run, "replicator"))
            await scopes.enter_async_context(running(_guarded(guard.advice.run, "advice"), "advice"))
            await scopes.enter_async_context(running(guard.drain.run, "drain"))
            if guard.settings.writes and guard.settings.claims:
                await scopes.enter_async_context(running(self._hold_claim, "claim"))
                await scopes.enter_async_context(running(_guarded(lambda: announce_drains(guard), "drain notes"), "drain notes"))
            self._service_manager.ready()
            log.info("daemon.started", run=guard.settings.keys.url, watch_dir=guard.settings.watch_dir, version=guard.settings.version)
            await self._stop.wait()
            return await self._end()

    async def _end(self) -> End:
        guard = self._guard
        self._service_manager.stopping()
        if guard.claim.state.value.phase is ClaimPhase.FENCED:
            return End.FENCED
        self._report.stopping = True
        began = guard.ports.clock.monotonic()
        deadline = began + guard.settings.shutdown_grace_seconds
        if (urgent := guard.urgency.value.deadline) is not None and urgent > began:
            deadline = min(deadline, urgent)
        if (finish_by := guard.claim.state.value.finish_by) is not None:
            deadline = min(deadline, max(began, finish_by - _LAST_WORDS_SECONDS))
        log.info("daemon.stopping", grace_seconds=round(deadline - began, 1))
        reason = guard.urgency.value.reason if guard.urgency.value.draining else "shutdown"
        guard.urgency.publish(Urgency(reason=reason, deadline=deadline, flush_loose=True, full_scans_after=began))
        guard.lift_cap(True)
        done = await self._until_nothing_left(began, deadline)
        return await self._conclude(done)

    async def _until_nothing_left(self, began: float, deadline: float) -> bool:
        def nothing_left(view: ReplicationView) -> bool:
            return view.fully_observed_at >= began and view.nothing_left and self._loose_done(view, began)

        guard = self._guard
        if not guard.settings.writes:
            return True
        abandon = asyncio.ensure_future(self._abandon.wait())
        flushed = asyncio.ensure_future(guard.replicator.view.until(nothing_left))
        fenced = asyncio.ensure_future(guard.claim.state.until(lambda state: state.phase is ClaimPhase.FENCED))
        extend = asyncio.ensure_future(self._extend_timeout(deadline))
        try:
            left = max(0.0, deadline - guard.ports.clock.monotonic())
            await asyncio.wait({abandon, flushed, fenced}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            return flushed.done()
        finally:
            for task in (abandon, flushed, fenced, extend):
                task.cancel()

    @staticmethod
    def _loose_done(view: ReplicationView, began: float) -> bool:
        return view.loose_flushed_at >= began

    async def _extend_timeout(self, deadline: float) -> None:
        clock = self._guard.ports.clock
        while clock.monotonic() < deadline:
            self._service_manager.extend_timeout(min(30.0, deadline - clock.monotonic() + 5.0))
            await asyncio.sleep(10)

    async def _conclude(self, done: bool) -> End:
        guard, view = self._guard, self._guard.replicator.view.value
        if guard.settings.writes and guard.settings.claims:
            try:
                await asyncio.wait_for(self._let_go(), _RELEASE_SECONDS)
            except TimeoutError:
                log.warning("claim.not_released", reason="the store did not answer")
            if guard.claim.state.value.phase is ClaimPhase.FENCED:
                log.error("daemon.fenced", left_unsaved=[*view.uncommitted, *view.being_written])
                return End.FENCED
        left = [*view.uncommitted, *view.being_written]
        if done and not left:
            log.info("daemon.stopped", left_unsaved=[])
            return End.DONE
        log.error("daemon.stopped", left_unsaved=left, loose_pending=view.loose_pending)
        return End.LEFT_UNSAVED

    async def _let_go(self) -> None:
        """Stop writing, then say that we have stopped: never the other way round."""
        guard = self._guard
        if guard.claim.state.value.phase is ClaimPhase.FENCED:
            await self._succession_over.wait()  # the release is being written already
            return
        await guard.replicator.halt()
        await guard.claim.release()

    async def _hold_claim(self) -> None:
        """Claim, hold, and when a successor comes finish what there is, say so, and write no more."""
        guard = self._guard
        await self._check_destination()
        state = await guard.claim.acquire()
        guard.replicator.recognise_anew()
        if state.phase is ClaimPhase.HELD:
            state = await guard.claim.watch()
        if state.phase is ClaimPhase.SUCCEEDED:
            await finish_for_successor(guard, state.finish_by)
            await guard.replicator.halt()
            await guard.claim.release()
            log.error("daemon.fenced", successor=state.successor)
        self._succession_over.set()

    async def _check_destination(self) -> None:
        """Before the first write: refuse a prefix that belongs to another run; ask whether conditions are heeded."""
        guard = self._guard
        while True:
            try:
                await refuse_nested(guard.ports.store, guard.settings.keys)
                await probe_conditions(guard.ports.store, guard.settings.keys, guard.problems)
            except StoreError as error:
                guard.health.failed(error)
                await asyncio.sleep(_CHECK_AGAIN_SECONDS)
            else:
                guard.health.answered()
                return

    async def _identify(self) -> None:
        metadata = self._guard.ports.metadata
        while metadata is not None and self._report.instance == Instance():
            try:
                self._report.instance = await metadata.identity()
            except MetadataUnavailable:
                await asyncio.sleep(_IDENTITY_SECONDS)  # the monitor tells that the service can not be reached


def _guarded(work: Callable[[], Awaitable[Any]], name: str) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        await guarded(work, name)

    return run


async def _awaited(work: Callable[[], Awaitable[Any]]) -> None:
    await work()
