"""The life of the daemon as nested scopes: the outermost starts first and dies last, and what is not essential can not take it down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from spotguard.core.claim import ClaimPhase
from spotguard.core.exit_status import ExitStatus
from spotguard.core.notice import Instance
from spotguard.ports.metadata_service import MetadataUnavailable
from spotguard.ports.object_store import StoreError
from spotguard.ports.service_manager import ServiceManager
from spotguard.services.run.run_checks import probe_conditions, refuse_nested
from spotguard.supervisor.ending import Ending, Leave
from spotguard.supervisor.guard import Guard
from spotguard.supervisor.pulse import Pulse
from spotguard.supervisor.report import Report
from spotguard.supervisor.succession import announce_drains, finish_for_successor

log = structlog.get_logger()

_GUARDED_DELAYS = (1.0, 5.0, 30.0)
_IDENTITY_SECONDS = 60.0
_CHECK_AGAIN_SECONDS = 5.0
_GOOD_LIFE_SECONDS = 600.0
"""A service that ran this long before it crashed is as good as new."""


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
        self.checked = asyncio.Event()
        """The prefix is ours to write, as far as that can be told before the claim."""
        self._ending = Ending(guard, report, service_manager)

    def stop(self) -> None:
        """SIGTERM: flush and end. The second time: end now."""
        if self._ending.is_asked:
            self.abandon()
        else:
            self.leave(Leave(self._guard.settings.shutdown_grace_seconds))

    def leave(self, how: Leave) -> None:
        """End in this way; asked again, the newer way counts."""
        self._ending.ask(how)

    def abandon(self) -> None:
        """End now, whatever is left."""
        self._ending.abandon()

    async def live(self) -> ExitStatus:
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
            await scopes.enter_async_context(running(_guarded(guard.folder_watch.run, "folder watch"), "folder watch"))
            await scopes.enter_async_context(running(_guarded(guard.presence.run, "presence"), "presence"))
            await scopes.enter_async_context(running(guard.replicator.run, "replicator"))
            await scopes.enter_async_context(running(_guarded(guard.advice.run, "advice"), "advice"))
            await scopes.enter_async_context(running(guard.drain.run, "drain"))
            if guard.settings.writes and guard.settings.claims:
                await scopes.enter_async_context(running(self._hold_claim, "claim"))
                await scopes.enter_async_context(running(_guarded(lambda: announce_drains(guard), "drain notes"), "drain notes"))
            else:
                self.checked.set()
            self._service_manager.ready()
            log.info("daemon.started", run=guard.settings.keys.url, watch_dir=guard.settings.watch_dir, version=guard.settings.version)
            return await self._ending.run()

    async def _hold_claim(self) -> None:
        """Claim, hold, and when a successor comes finish what there is, say so, and write no more."""
        guard = self._guard
        await self._check_destination()
        self.checked.set()
        state = await guard.claim.acquire()
        guard.replicator.recognise_anew()
        if state.phase is ClaimPhase.HELD:
            state = await guard.claim.watch()
        if state.phase is ClaimPhase.SUCCEEDED:
            await finish_for_successor(guard, state.finish_by)
            await guard.replicator.halt()
            await guard.claim.release()
            log.error("daemon.fenced", successor=state.successor)
        self._ending.succession_over.set()

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
