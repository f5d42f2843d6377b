"""Builds what the replicator publishes from its records."""

from __future__ import annotations

from datetime import UTC, datetime

from spotguard.core.checkpoint import CheckpointState, Unfinished
from spotguard.core.manifest import Manifest
from spotguard.core.plan import GivenUpName
from spotguard.services.replication.committed import Committed
from spotguard.services.replication.dispatcher import DispatchReport
from spotguard.services.replication.ledger import Ledger
from spotguard.services.replication.records import Record, status_of
from spotguard.services.replication.replication_view import LastCommit, ReplicationView, SaveTimes

_SAVES = 20
_BULK = 100


def build_view(
    ledger: Ledger,
    *,
    observed_at: float,
    fully_observed_at: float,
    now: float,
    settle_seconds: float,
    committed: Committed,
    dispatch: DispatchReport,
) -> ReplicationView:
    records = sorted(ledger, key=lambda record: record.name)
    pending = [record for record in records if record.is_pending]
    unfinished = [record for record in records if record.state() is CheckpointState.WRITING]
    return ReplicationView(
        observed_at=observed_at,
        fully_observed_at=fully_observed_at,
        checkpoints=tuple(status_of(record) for record in records),
        being_written=tuple(record.name for record in unfinished if _is_being_written(record, now, settle_seconds)),
        uncommitted=tuple(record.name for record in pending),
        failed=tuple(record.name for record in records if _is_missed(record, committed)),
        unfinished=tuple(GivenUpName(record.name, record.why() or "unfinished") for record in unfinished),
        given_up=tuple(GivenUpName(record.name, record.given_up) for record in records if record.given_up),
        does_not_fit=dispatch.does_not_fit,
        loose_pending=dispatch.loose_pending,
        loose_flushed_at=dispatch.loose_flushed_at,
        backlog_bytes=sum(_left(record) for record in pending),
        committed_any=committed.any,
        recognised=committed.known and all(record.recognised for record in records if record.local is not None),
        settling=tuple(record.name for record in unfinished if _settles(record)),
        unreadable=dispatch.unreadable,
        last_commit=_last_commit(records) or _last_commit_of_the_run(committed),
        saves=_saves(records),
    )


def _is_missed(record: Record, committed: Committed) -> bool:
    """Whether it can not be stored and a restore would bring something older instead."""
    if not record.failed or record.local is None:
        return False
    newest = committed.newest_of_stages().get(record.stage)
    order = record.order_if_saved_at(record.local.saved_ns // 1_000_000_000)
    return newest is None or order > newest


def _is_being_written(record: Record, now: float, settle_seconds: float) -> bool:
    """A torn folder that nobody touches any more is not being written: waiting for it would be waiting for ever."""
    return _settles(record) or record.quiet_seconds(now) < settle_seconds or record.early is not None


def _settles(record: Record) -> bool:
    return isinstance(record.assessment, Unfinished) and record.assessment.waits_only_for_quiet


def _left(record: Record) -> int:
    if record.capture is None:
        return 0
    files = record.capture.checkpoint.files
    return record.upload.bytes_left(files) if record.upload else record.capture.checkpoint.total_bytes


def _last_commit(records: list[Record]) -> LastCommit | None:
    manifests = [record.committed for record in records if record.committed is not None]
    if not manifests:
        return None
    newest = max(manifests, key=lambda manifest: manifest.order)
    return LastCommit(newest.name, newest.saved_at, newest.committed_at)


def _last_commit_of_the_run(committed: Committed) -> LastCommit | None:
    """Where none of what is committed lies on this disk; when it was committed is not known without reading it, but hardly before."""
    newest = committed.newest()
    if newest is None:
        return None
    saved_at = datetime.fromtimestamp(newest.saved_at, UTC)
    return LastCommit(newest.name, saved_at, saved_at)


def _saves(records: list[Record]) -> tuple[SaveTimes, ...]:
    committed = [(record, record.committed) for record in records if record.committed is not None and record.committed.files]
    committed.sort(key=lambda save: max(file.mtime_ns for file in save[1].files))
    saves: list[SaveTimes] = []
    for record, manifest in committed[-_SAVES:]:
        times = [file.mtime_ns for file in manifest.files]
        # not all of the writing may have been seen, and by the files' times a single file took none
        seconds = max(record.write_seconds, _span_seconds(manifest, after_ns=saves[-1].last_ns if saves else 0))
        saves.append(SaveTimes(record.name, min(times), max(times), manifest.total_bytes, seconds))
    return tuple(saves)


def _span_seconds(manifest: Manifest, *, after_ns: int) -> float:
    """Between the first and the last time of the files that were written for it: one from before the save that came before it was copied
    with its time, and where none came before, only the bulk of it counts, because what is copied is small."""
    bulk = manifest.total_bytes / _BULK if not after_ns else 0
    times = [file.mtime_ns for file in manifest.files if file.mtime_ns > after_ns and file.size >= bulk]
    return (max(times) - min(times)) / 1e9 if times else 0.0
