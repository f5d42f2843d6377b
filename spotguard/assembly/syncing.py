"""Puts one pass together: over the running daemon if there is one, else by itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from spotguard.adapters.http.daemon_client import connect_daemon
from spotguard.assembly.daemon import assembled
from spotguard.assembly.settings import run_keys
from spotguard.config.models import Config
from spotguard.ports.daemon_control import DaemonRefused, FlushOutcome, NoDaemon
from spotguard.ports.progress import ProgressSink
from spotguard.services.replication.urgency import Urgency
from spotguard.services.run.earlier_claims import claimed_elsewhere
from spotguard.services.run.run_checks import refuse_nested
from spotguard.services.single_pass import SinglePass, SyncOutcome
from spotguard.supervisor.life import running

_FLUSH_SECONDS = 300.0
_QUIET_MARGIN_SECONDS = 5.0


class RunIsBusy(Exception):
    """Another host writes this run right now. `str()` is one line."""

    exit_status = 1


@dataclass(frozen=True, slots=True)
class _Nobody:
    """No daemon of this run listens here."""


async def run_sync(config: Config, progress: ProgressSink) -> SyncOutcome:
    """Upload and commit all that is complete. Raises StoreError, NestedRun, RunIsBusy."""
    flushed = await _flush_by_daemon(config)
    if not isinstance(flushed, _Nobody):
        return _from_daemon(flushed)
    async with assembled(config, claims=False) as (guard, _):
        store, keys = guard.ports.store, guard.settings.keys
        await refuse_nested(store, keys)
        now = guard.ports.clock.wall() + timedelta(seconds=guard.clock_offset())
        if (busy := await claimed_elsewhere(store, keys, host=guard.settings.host, now=now)) is not None:
            raise RunIsBusy(f"{busy}: stop its daemon first, or wait until it has released the run")
        began = guard.ports.clock.monotonic()
        guard.urgency.publish(Urgency(reason="sync", keep_all=True, flush_loose=True, full_scans_after=began))
        async with running(guard.replicator.run, "replicator"), running(guard.hooks.run, "hooks"):
            single_pass = SinglePass(guard.replicator.view, guard.health, guard.throughput, progress)
            return await single_pass.finish(began, patience_seconds=config.watch.settle_seconds + _QUIET_MARGIN_SECONDS)


async def _flush_by_daemon(config: Config) -> FlushOutcome | _Nobody:
    if config.http.listen is None:
        return _Nobody()
    try:
        async with connect_daemon(config.http.listen, config.http.token_text) as daemon:
            health = await asyncio.wait_for(daemon.health(), 5)
            if health.run != run_keys(config).url or health.watch_dir != str(config.watch.dir):
                return _Nobody()
            return await daemon.flush(_FLUSH_SECONDS)
    except (NoDaemon, DaemonRefused, TimeoutError):
        return _Nobody()


def _from_daemon(outcome: FlushOutcome) -> SyncOutcome:
    return SyncOutcome((), len(outcome.committed), outcome.unfinished, (), flushed_by_daemon=True)
