"""Puts the daemon together and lets it live."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import structlog

from spotguard.adapters import crc64
from spotguard.adapters.disk.inotify import change_hints
from spotguard.adapters.disk.volume import LocalVolume
from spotguard.adapters.http.server import serve_http
from spotguard.adapters.processes.signal_journal import FileSignalJournal, journal_path
from spotguard.adapters.processes.trainers import trainer_for
from spotguard.adapters.processes.writer_watch import ProcWriterWatch
from spotguard.adapters.s3.connection import connect
from spotguard.adapters.s3.retrying import RetryingStore, RetryingTransfer
from spotguard.adapters.s3.retrying_copies import RetryingCopies
from spotguard.adapters.system_clock import SystemClock
from spotguard.adapters.telling.announcements import LocalAnnouncements
from spotguard.adapters.telling.service_manager import SystemdNotifier
from spotguard.adapters.thread_offload import ThreadOffload
from spotguard.assembly.guard_settings import guard_settings
from spotguard.assembly.metadata import instance_id, metadata_service
from spotguard.assembly.settings import s3_settings, this_host
from spotguard.config.models import Config
from spotguard.core.backoff import RetryPolicy
from spotguard.core.problem import ProblemCode, Severity
from spotguard.ports.trainer import Trainer
from spotguard.services.published import Published
from spotguard.services.replication.urgency import Urgency
from spotguard.supervisor.control import Control
from spotguard.supervisor.edges import Ports
from spotguard.supervisor.guard import Guard
from spotguard.supervisor.life import Life
from spotguard.supervisor.report import Report

log = structlog.get_logger()


async def run_daemon(config: Config) -> int:
    """Guard the run until SIGTERM or SIGINT; returns the exit status. Raises NestedRun for a prefix that belongs to another run."""
    async with assembled(config) as (guard, report):
        life = life_of(config, guard, report)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, life.stop)
        try:
            return int(await life.live())
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def life_of(config: Config, guard: Guard, report: Report) -> Life:
    """The life of a daemon over these services, with what it shows to the outside."""
    edges: list[tuple[str, Callable[[], Awaitable[Any]]]] = [("change hints", lambda: _hint(guard, config))]
    if config.http.listen is not None:
        listen, control = config.http.listen, Control(guard, report)
        edges.insert(0, ("http server", lambda: _serve(listen, control, config.http.token_text, guard)))
    return Life(guard, report, SystemdNotifier(os.environ), edges=lambda: edges)


@asynccontextmanager
async def assembled(config: Config, *, claims: bool = True, trainer: Trainer | None = None) -> AsyncIterator[tuple[Guard, Report]]:
    """The daemon's services over real adapters; connections are closed at the end. `trainer`: other than the configuration's."""
    clock = SystemClock()
    crc64.load()  # now, and not when the first upload and a notice come together
    async with AsyncExitStack() as stack:
        metadata = await stack.enter_async_context(metadata_service(config))
        connection = await stack.enter_async_context(connect(s3_settings(config)))
        urgency: Published[Urgency] = Published(Urgency())

        def seconds_left() -> float | None:
            deadline = urgency.value.deadline
            left = None if deadline is None else deadline - clock.monotonic()
            return left if left is not None and left > 0 else None  # past the deadline there is none any more

        store = RetryingStore(connection.store, RetryPolicy(), seconds_left)
        transfer = RetryingTransfer(connection.transfer, connection.store, RetryPolicy(), seconds_left)
        copies = RetryingCopies(connection.stored, connection.store)
        ports = Ports(
            store=store,
            transfer=transfer,
            bulk=connection.bulk_send,
            stored=copies,
            volume=LocalVolume(config.watch.dir, exclude=config.watch.exclude, follow_links=config.watch.follow_links),
            trainer=trainer or trainer_for(config.trainer),
            announcements=LocalAnnouncements(notice_file=config.trainer.notice_file, hooks=_hook_commands(config)),
            journal=FileSignalJournal(journal_path(os.environ)),
            writer_watch=ProcWriterWatch(config.watch.dir),
            clock=clock,
            offload=ThreadOffload(),
            metadata=metadata,
        )
        settings = replace(guard_settings(config, this_host(await instance_id(metadata))), claims=claims)
        guard = Guard(ports, settings, urgency)
        guard.throughput.retries_total = lambda: store.retries_total + transfer.retries_total + copies.retries_total
        yield guard, Report(guard)


async def _hint(guard: Guard, config: Config) -> None:
    def degraded(reason: str) -> None:
        log.warning("change_hints.off", reason=reason, rescan_seconds=config.watch.rescan_seconds)
        guard.schedule.scan_only()

    async with change_hints(config.watch.dir, guard.schedule.hint, degraded):
        await asyncio.Event().wait()


async def _serve(listen: str, control: Control, token: str | None, guard: Guard) -> None:
    def taken(reason: str) -> None:
        fix = "set http.listen to a free address, or stop who holds it"
        guard.problems.raise_(ProblemCode.PORT_TAKEN, reason, fix, Severity.WARNING)

    def served() -> None:
        guard.problems.clear(ProblemCode.PORT_TAKEN)
        log.info("http.listening", listen=listen)

    async with serve_http(listen, control, token, taken, on_served=served):
        await asyncio.Event().wait()


def _hook_commands(config: Config) -> dict[str, tuple[str, ...]]:
    return {event: tuple(command) for event, command in config.hooks.model_dump().items() if command}
