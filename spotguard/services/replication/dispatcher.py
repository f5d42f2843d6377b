"""Starts what the plan says, in its order, and stops what it no longer says: whole checkpoints, early files, loose files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from spotguard.core.checkpoint import LocalFile
from spotguard.core.loose_survey import LooseKnowledge, LooseSurvey
from spotguard.core.plan import COMMIT_SECONDS, GivenUpName, Pending, Plan, World, plan
from spotguard.core.retention import RetentionRule, is_expendable
from spotguard.core.temporary import looks_temporary
from spotguard.ports.clock import Clock
from spotguard.services.published import Published
from spotguard.services.replication.attempts import Attempts
from spotguard.services.replication.committed import Committed
from spotguard.services.replication.ledger import Ledger, vanish
from spotguard.services.replication.records import Record
from spotguard.services.replication.streams import Streams
from spotguard.services.replication.urgency import Urgency
from spotguard.services.upload.checkpoint_upload import UploadTools
from spotguard.services.upload.loose_files import LooseFiles
from spotguard.services.upload.throughput import Throughput

log = structlog.get_logger()

_EARLY_QUIET_SECONDS = 1.0
_HALT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class DispatchReport:
    does_not_fit: tuple[GivenUpName, ...]
    loose_pending: int
    loose_flushed_at: float
    unreadable: tuple[str, ...]


class Dispatcher:
    def __init__(
        self,
        *,
        tools: UploadTools,
        attempts: Attempts,
        committed: Committed,
        ledger: Ledger,
        loose: LooseFiles,
        throughput: Throughput,
        urgency: Published[Urgency],
        may_write: Callable[[], bool],
        clock: Clock,
        nudge: Callable[[str | None], None],
        retention: RetentionRule,
    ) -> None:
        self._tools = tools
        self._committed = committed
        self._retention = retention
        self._ledger = ledger
        self._loose = loose
        self._throughput = throughput
        self._urgency = urgency
        self._may_write = may_write
        self._clock = clock
        self._nudge = nudge
        self._attempts = attempts
        self._streams = Streams(attempts, tools.volume, clock, part_bytes=tools.engine.part_bytes, nudge=nudge, spawn=self._spawn)
        self._hurries = False
        self._group: asyncio.TaskGroup | None = None
        self._does_not_fit: tuple[GivenUpName, ...] = ()
        self._loose_task: asyncio.Task[None] | None = None
        self._halted = False

    @property
    def unreadable(self) -> set[str]:
        """Names of whole checkpoints with files that may not be read."""
        return self._attempts.unreadable

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Tasks are started in this group from now on."""
        self._group = group

    def loose_knowledge(self) -> LooseKnowledge:
        """With what the loose files are to be gone through."""
        return self._loose.knowledge(urgent=self._urgency.value.flush_loose)

    def dispatch(self, loose: LooseSurvey, closed: set[str], *, observed_at: float) -> None:
        """Bring what is being sent into line with what is known now. `observed_at` (monotonic): when the last full scan began."""
        self._loose.learn(loose)
        self._begin_or_end_to_hurry()
        decided = self._decide()
        self._attempts.ranks = {name: rank for rank, name in enumerate(decided.send)}
        self._does_not_fit = decided.does_not_fit
        for given_up in decided.superseded:
            self._supersede(given_up)
        self._put_away()
        if self._halted or not self._may_write():
            for task in self._running():
                task.cancel()
            self._streams.align(self._ledger, closed, paused=True)
            self._note_loose(loose, observed_at)
            return
        self._start_whole(decided.send)
        self._start_early(closed)
        self._streams.align(self._ledger, closed, paused=self._whole_ones_hurry())
        self._start_loose(loose, observed_at)

    def _begin_or_end_to_hurry(self) -> None:
        """What failed before a deadline was known is tried at once: it may have been mended, and there is no time to wait and see."""
        if self._urgency.value.draining and not self._hurries:
            for record in self._ledger:
                record.retry_at, record.early_retry_at, record.failures = 0.0, 0.0, 0
            self._attempts.begin_to_hurry()
        self._hurries = self._urgency.value.draining

    async def halt(self) -> None:
        """Start nothing any more and stop what is being sent. On return nothing of ours is under way to the bucket."""
        self._halted = True
        self._streams.align(self._ledger, (), paused=True)
        if running := self._running():
            for task in running:
                task.cancel()
            _, late = await asyncio.wait(running, timeout=_HALT_SECONDS)
            if late:
                log.error("uploads.not_stopped", tasks=len(late))

    def let_go(self, record: Record, why: str) -> None:
        """Stop sending it and close its files. They are closed once nothing reads them any more."""
        vanish(record, why)
        self._stop(record)

    def drop(self, record: Record) -> None:
        """Send what was captured no further, in favour of what lies on disk now."""
        record.begin_anew()
        if record.task is not None:
            record.task.cancel()
        elif record.upload is not None:
            record.upload.let_go()

    def fits(self, size: int) -> bool:
        """Whether it is known that so many bytes can be sent and committed before the deadline."""
        deadline, rate = self._urgency.value.deadline, self._throughput.estimate
        if deadline is None or not rate:
            return deadline is None
        return size / rate + COMMIT_SECONDS <= deadline - self._clock.monotonic()

    def next_due(self) -> float | None:
        """When something that failed wants to be tried again (monotonic)."""
        now = self._clock.monotonic()
        waiting = [record.not_before for record in self._ledger if record.is_pending and record.task is None and record.not_before > now]
        if self._attempts.loose_retry_at > now:
            waiting.append(self._attempts.loose_retry_at)
        return min(waiting, default=None)

    def report(self, loose: LooseSurvey) -> DispatchReport:
        return DispatchReport(self._does_not_fit, loose.pending, self._attempts.loose_flushed_at, tuple(sorted(self.unreadable)))

    def _decide(self) -> Plan:
        urgency = self._urgency.value
        return plan(
            World(
                pending=tuple(self._weighed(record) for record in self._ledger if record.is_pending),
                newest_committed=tuple(self._committed.newest_of_stages().items()),
                seconds_left=None if urgency.deadline is None else max(0.0, urgency.deadline - self._clock.monotonic()),
                bytes_per_second=self._throughput.estimate,
                keep_all=urgency.keep_all,
            )
        )

    def _weighed(self, record: Record) -> Pending:
        pending = _pending(record)
        if self._retention.keeps_all or not record.recognised or not self._committed.known:
            return pending
        now = self._clock.wall().timestamp() + (self._tools.store.clock_offset() or 0.0)
        expendable = is_expendable(record.name, pending.order, self._committed.readable(), self._retention, now=now)
        return replace(pending, expendable=expendable)

    def _supersede(self, given_up: GivenUpName) -> None:
        record = self._ledger.get(given_up.name)
        if record is None:
            return
        if record.overtaken:
            self.drop(record)  # what lies on disk now may be newer than what superseded this
            self._nudge(record.name)
            return
        record.superseded = given_up.why
        log.info("checkpoint.superseded", name=record.name, why=given_up.why)
        self._stop(record)

    def _stop(self, record: Record) -> None:
        if record.task is not None:
            record.task.cancel()  # it puts its upload away itself
        elif record.upload is not None:
            record.upload.let_go()
            self._spawn(self._attempts.discard(record))

    def _put_away(self) -> None:
        for record in self._ledger.take_dropped():
            if record.upload is not None:
                record.upload.let_go()
            self._spawn(self._attempts.discard(record))

    def _running(self) -> list[asyncio.Task[None]]:
        tasks = [task for record in self._ledger for task in (record.task, record.early, *record.ahead.values())]
        return [task for task in (*tasks, self._loose_task) if task is not None]

    def _start_whole(self, names: Iterable[str]) -> None:
        """In peace one upload per stage, and what has begun is not stopped. In a drain the link belongs to the first in line."""
        now = self._clock.monotonic()
        ready = [record for name in names if (record := self._ledger.get(name)) and record.recognised and record.not_before <= now]
        if self._urgency.value.draining:
            ready = self._first_in_line(ready)
        busy = {record.stage for record in self._ledger if record.task is not None}
        for record in ready:
            if record.task is None and (self._urgency.value.draining or record.stage not in busy):
                record.task = self._spawn(self._attempts.carry(record, self._urgency.value.reason))
                busy.add(record.stage)

    def _first_in_line(self, ready: list[Record]) -> list[Record]:
        """Those up to the first that still has bytes to send; whoever comes after it stops, and goes on where it was later."""
        sending = next((at for at, record in enumerate(ready) if _pending(record).bytes_left > 0), len(ready))
        for record in ready[sending + 1 :]:
            if record.task is not None:
                record.task.cancel()
        if sending < len(ready):
            for record in self._ledger:
                if record.early is not None and record is not ready[sending]:
                    record.early.cancel()
        return ready[: sending + 1]

    def _start_early(self, closed: set[str]) -> None:
        if self._whole_ones_hurry():
            return
        now = self._clock.monotonic()
        for record in self._ledger:
            if record.local is None or record.capture is not None or record.is_committed or not record.recognised or record.given_up:
                continue
            if record.early is not None or record.early_retry_at > now or record.local.broken:
                continue
            if record.local.in_place or record.loses_to_rewrites:
                continue  # it would be written over before it is there, and its copy would wait for that
            files = [file for file in record.local.files if self._goes_early(record, file, closed, now)]
            if files:
                record.early = self._spawn(self._attempts.early(record, files))

    def _whole_ones_hurry(self) -> bool:
        """Whether the link belongs to whole checkpoints alone."""
        return self._urgency.value.draining and any(record.is_pending for record in self._ledger)

    def _goes_early(self, record: Record, file: LocalFile, closed: set[str], now: float) -> bool:
        if file.stat.size < self._tools.engine.part_bytes or looks_temporary(file.path):
            return False
        if self._attempts.has(record, file):
            return False
        if file.source in closed:
            return True
        if self._streams.is_open(record, file):
            return False  # its writer pauses: half a file would be sent as a whole one
        age = self._clock.wall().timestamp() - file.stat.mtime_ns / 1e9
        return age >= _EARLY_QUIET_SECONDS or record.quiet_seconds(now) >= _EARLY_QUIET_SECONDS

    def _start_loose(self, loose: LooseSurvey, observed_at: float) -> None:
        waits = self._clock.monotonic() < self._attempts.loose_retry_at
        if self._loose_task is not None or waits or not self._committed.known:
            return
        if self._whole_ones_hurry():
            return
        if loose.due or self._loose.owes_index:
            self._loose_task = self._spawn(self._send_loose(loose, observed_at))
        else:
            self._note_loose(loose, observed_at)

    def _note_loose(self, loose: LooseSurvey, observed_at: float) -> None:
        """Where nothing is due, all that had changed is out."""
        if loose.urgent and not loose.pending and not self._loose.owes_index:
            self._attempts.loose_flushed_at = max(self._attempts.loose_flushed_at, observed_at)

    async def _send_loose(self, loose: LooseSurvey, observed_at: float) -> None:
        try:
            await self._attempts.loose(loose, observed_at=observed_at)
        finally:
            self._loose_task = None
            self._nudge(None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._group is not None
        return self._group.create_task(work)


def _pending(record: Record) -> Pending:
    assert record.capture is not None
    files = record.capture.checkpoint.files
    left = record.upload.bytes_left(files) if record.upload else record.capture.checkpoint.total_bytes
    unproven = record.upload.unproven_bytes(files) if record.upload else 0
    return Pending(record.name, record.stage, record.order(), left, unproven, begun=record.task is not None)
