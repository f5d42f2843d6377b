"""The reconcile loop: look at the disk, compare it with the bucket, and do what the plan says.

Nothing is queued. A hint, a timer, a notice or a finished upload wakes the loop; it computes what is missing from what it sees. Lost
events, restarts and store errors all end here: there is no second way to recover.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog

from spotguard.core.checkpoint import Assessment, CompleteBy, Inventory, LocalCheckpoint, Unfinished, Whole
from spotguard.core.problem import ProblemCode, Severity
from spotguard.ports.checkpoint_volume import CannotRead, CheckpointVolume
from spotguard.ports.clock import Clock, wall_ns
from spotguard.ports.offload import Offload
from spotguard.services.problem_board import ProblemBoard
from spotguard.services.published import Published
from spotguard.services.replication.committed import Committed
from spotguard.services.replication.declarations import Declarations
from spotguard.services.replication.dispatcher import Dispatcher
from spotguard.services.replication.examination import Examination
from spotguard.services.replication.ledger import Ledger
from spotguard.services.replication.recognition import Recognition
from spotguard.services.replication.records import Record
from spotguard.services.replication.replication_view import ReplicationView
from spotguard.services.replication.rewrites import Rewrites
from spotguard.services.replication.scan_schedule import Cost, ScanSchedule
from spotguard.services.replication.sighting import Sighting, make_out
from spotguard.services.replication.urgency import Urgency
from spotguard.services.replication.view_builder import build_view
from spotguard.services.replication.writers import Writers
from spotguard.services.store_health import StoreHealth

log = structlog.get_logger()

_SCAN_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ReplicatorSettings:
    layout: str
    settle_seconds: float


class UnknownName(Exception):
    """No checkpoint of this name lies on disk."""


class Replicator:
    def __init__(
        self,
        settings: ReplicatorSettings,
        *,
        volume: CheckpointVolume,
        committed: Committed,
        examination: Examination,
        ledger: Ledger,
        dispatcher: Dispatcher,
        writers: Writers,
        schedule: ScanSchedule,
        urgency: Published[Urgency],
        health: StoreHealth,
        problems: ProblemBoard,
        offload: Offload,
        clock: Clock,
        clock_offset: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._volume = volume
        self._committed = committed
        self._examination = examination
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._writers = writers
        self._schedule = schedule
        self._urgency = urgency
        self._problems = problems
        self._offload = offload
        self._clock = clock
        self._clock_offset = clock_offset
        self._declarations = Declarations(ledger, clock)
        self._rewrites = Rewrites(volume, examination, dispatcher)
        self._recognition = Recognition(committed, examination, ledger, health, clock, schedule.nudge)
        self._scan_at: float | None = None
        self._reported_special: frozenset[str] = frozenset()
        self._fully_observed_at = float("-inf")
        self.view: Published[ReplicationView] = Published(ReplicationView())
        self.looked_at: Published[float] = Published(float("-inf"))
        """When the latest look began (monotonic), also of one that failed: whether the loop is alive."""

    async def run(self) -> None:
        """Look and act until cancelled. Uploads end with it; what they sent stays in the bucket."""
        async with asyncio.TaskGroup() as group:
            self._dispatcher.begin(group)
            group.create_task(self._heed_urgency())
            while True:
                began = self._clock.monotonic()
                await self._look(group, began)
                self.looked_at.publish(began)
                await self._pause()

    async def _heed_urgency(self) -> None:
        while True:
            await self._urgency.changed()
            self._schedule.nudge()

    def look_now(self) -> None:
        """A full scan as soon as possible."""
        self._schedule.want_full()

    def declare_complete(self, name: str) -> None:
        """The trainer says that this checkpoint is whole. Raises UnknownName."""
        record = self._ledger.get(name)
        if record is None or record.local is None:
            raise UnknownName(name)
        self._declarations.note(name)
        self._schedule.hint(name)

    def recognise_anew(self, vanished: Collection[str] = ()) -> None:
        """Somebody else may have written the run: what was read of the bucket is read again before anything is written.

        `vanished`: names whose commits are known to be gone."""
        self._ledger.forget_commits(vanished)
        self._recognition.forget()
        self._schedule.nudge()

    async def halt(self) -> None:
        """Write nothing more, for ever. On return nothing is being sent; looking goes on."""
        await self._dispatcher.halt()

    async def _look(self, group: asyncio.TaskGroup, began: float) -> None:
        urgency = self._urgency.value
        if self._fully_observed_at < urgency.full_scans_after:
            self._schedule.want_full()
        paths = self._schedule.take(began)
        if paths is not None:
            # what time alone is about to make whole is looked at once more: an event may have been lost
            undecided = [record for record in self._ledger if record.local and not record.is_committed]
            paths |= {record.name for record in undecided if urgency.draining or _settles(record)}
        closed = self._schedule.take_closed()
        heard = self._declarations.so_far()
        began_ns = wall_ns(self._clock)
        try:
            tree = await self._volume.scan(paths)
        except CannotRead as error:
            self._problems.raise_(ProblemCode.CANNOT_READ, str(error), "make the watch root readable for spotguard's user")
            self._schedule.keep_full(closed)
            self._scan_at = self._clock.monotonic() + _SCAN_AGAIN_SECONDS
            return
        self._scan_at = None
        scanned = self._clock.monotonic() - began
        if paths is None:
            self._fully_observed_at = began
        known = self._dispatcher.loose_knowledge()
        seen = await self._offload(len(tree.files), lambda: make_out(tree, self._settings.layout, known, self._clock.cpu))
        inventory, resumed = seen.inventory, self._clock.cpu()
        self._report_unreadable(inventory)
        self._ledger.see(inventory.checkpoints, now=began, wall_ns=began_ns)
        self._recognition.go_on(group)
        thought = seen.cpu_seconds + self._clock.cpu() - resumed
        await self._assess_all(self._declarations.hold(heard))
        await self._rewrites.give_space_back(self._ledger)
        resumed = self._clock.cpu()
        self._dispatcher.dispatch(seen.loose, closed, observed_at=self._fully_observed_at)
        self._publish(began, seen)
        thought += self._clock.cpu() - resumed
        self._schedule.took(Cost(scanned, tree.cpu_seconds, thought, unwatched=bool(tree.sources)), full=paths is None)

    async def _assess_all(self, declared: Collection[str]) -> None:
        now = self._clock.monotonic()
        self._writers.keep_only({record.name for record in self._ledger if record.local and not record.is_committed})
        for record in self._ledger:
            if self._ledger.get(record.name) is not record:
                continue  # dropped while another was looked into
            local = record.local
            if record.overtaken and self._urgency.value.draining:
                await self._rewrites.prefer_the_newer(record, now, declared=record.name in declared)
            if local is None or record.capture is not None or record.given_up or (record.recognised and record.is_committed):
                continue
            if local.broken:
                self._fail(record, local.broken)
                continue
            record.assessment = assessment = await self._assess(local, record.quiet_seconds(now), declared=record.name in declared)
            if isinstance(assessment, Whole) and record.local is local:
                await self._capture(record, local, assessment)
        self._declarations.forget_heeded()

    async def _assess(self, local: LocalCheckpoint, quiet: float, *, declared: bool) -> Assessment:
        """Who wrote it matters only where nothing in it says that it is whole: asking the whole process table costs milliseconds."""
        found = await self._examination.assess(local, quiet_seconds=quiet, declared=declared, writer_died=False)
        if isinstance(found, Whole) and found.by is not CompleteBy.QUIET:
            return found
        if await self._writers.died(local, quiet_seconds=quiet, settle_seconds=self._settings.settle_seconds):
            return await self._examination.assess(local, quiet_seconds=quiet, declared=declared, writer_died=True)
        return found

    async def _capture(self, record: Record, local: LocalCheckpoint, whole: Whole) -> None:
        others = self._ledger.locals_()
        offset, now = self._clock_offset(), self._clock.wall().timestamp()
        capture = await self._examination.capture(local, whole, others=others, offset_seconds=offset, now=now)
        if record.local is not local or (record.recognised and record.is_committed):
            return  # found to be committed while it was being looked at
        record.capture = capture
        log.info("checkpoint.completed", name=record.name, by=whole.by.value, files=len(local.files), size_bytes=local.total_bytes)

    def _fail(self, record: Record, why: str) -> None:
        if record.failed is None:
            log.warning("checkpoint.failed", name=record.name, why=why)
        record.failed = why
        fix = "mend the link or the name, or set watch.follow_links"
        self._problems.raise_(ProblemCode.CANNOT_READ, f"{record.name} can not be stored: {why}", fix)

    def _report_unreadable(self, inventory: Inventory) -> None:
        for path in sorted(inventory.special - self._reported_special):
            log.warning("file.skipped", path=path, reason="not a regular file, folder or link")
        self._reported_special = inventory.special
        if inventory.unreadable:
            path, reason = next(iter(sorted(inventory.unreadable.items())))
            more = f" (and {len(inventory.unreadable) - 1} more)" if len(inventory.unreadable) > 1 else ""
            fix = (
                "let spotguard read it: run as the trainer's user or grant CAP_DAC_READ_SEARCH; rename what is not UTF-8;"
                " for links that lead out set watch.follow_links"
            )
            self._problems.raise_(ProblemCode.CANNOT_READ, f"{path}: {reason}{more}", fix, Severity.ERROR)
        elif not self._dispatcher.unreadable and not any(record.failed for record in self._ledger):
            self._problems.clear(ProblemCode.CANNOT_READ)

    def _publish(self, began: float, seen: Sighting) -> None:
        view = build_view(
            self._ledger,
            observed_at=began,
            fully_observed_at=self._fully_observed_at,
            now=self._clock.monotonic(),
            settle_seconds=self._settings.settle_seconds,
            committed=self._committed,
            dispatch=self._dispatcher.report(seen.loose),
        )
        self.view.publish(view)

    async def _pause(self) -> None:
        now = self._clock.monotonic()
        due = [self._dispatcher.next_due(), self._scan_at, self._recognition.next_due(now)]
        for record in self._ledger:
            undecided = record.capture is None and record.local is not None and not record.is_committed
            if undecided and isinstance(record.assessment, Unfinished):
                due.append(_due(record.assessment, now))
        soonest = min((at for at in due if at is not None), default=None)
        await self._schedule.pause(now, next_due=soonest, draining=self._urgency.value.draining)


def _settles(record: Record) -> bool:
    return isinstance(record.assessment, Unfinished) and record.assessment.waits_only_for_quiet


def _due(assessment: Unfinished, now: float) -> float | None:
    """When time alone may have made it whole. A moment is added, so that the look comes after it, not just before."""
    return None if assessment.ready_in_seconds is None else now + assessment.ready_in_seconds + 0.02
