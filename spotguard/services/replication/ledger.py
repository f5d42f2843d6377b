"""The records of all checkpoints, brought up to date with each scan."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import structlog

from spotguard.core.checkpoint import LocalCheckpoint, Unfinished
from spotguard.core.comparison import Likeness, compare
from spotguard.core.manifest import Manifest
from spotguard.core.quiet import observe
from spotguard.services.replication.records import Record
from spotguard.services.upload.checkpoint_upload import same_content

log = structlog.get_logger()

_KEEP_GONE = 50
"""Committed checkpoints whose folder is gone stay in the status this many deep."""


class Ledger:
    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._dropped: list[Record] = []

    def __iter__(self) -> Iterator[Record]:
        """As they are now: some may be dropped before the end is reached."""
        return iter(tuple(self._records.values()))

    def get(self, name: str) -> Record | None:
        return self._records.get(name)

    def see(self, found: Mapping[str, LocalCheckpoint], *, now: float, wall_ns: int) -> None:
        """Take in what a scan that began at `now` (monotonic) found."""
        for name, local in found.items():
            record = self._records.setdefault(name, Record(name))
            before, was_whole = record.local, record.capture is not None or record.is_committed
            record.observation = observation = observe(record.observation, local, now=now, wall_ns=wall_ns)
            record.local = before if before == local else local  # the same is in memory once
            if before is None or (was_whole and before.content != local.content):
                record.writing_since = observation.last_change
            record.write_seconds = observation.last_change - record.writing_since
            if before is None or before.content != local.content:
                self._take_in_change(record, before, local, now)
        for name in [name for name in self._records if name not in found]:
            self._take_in_absence(self._records[name])
        self._forget_the_oldest_gone()

    def forget_commits(self, names: Collection[str]) -> None:
        """What was committed under these names is in the bucket no more; of a name that is not on disk either, nothing is left."""
        for name in names:
            record = self._records.get(name)
            if record is None:
                continue
            record.committed, record.likeness, record.recognised = None, None, False
            if record.local is None and record.task is None and not record.is_secured:
                self._dropped.append(self._records.pop(name))

    def take_dropped(self) -> list[Record]:
        """Records whose upload is of no use any more, since the last call: their files and open uploads want to be let go."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def locals_(self) -> list[LocalCheckpoint]:
        return [record.local for record in self._records.values() if record.local is not None]

    def _take_in_absence(self, record: Record) -> None:
        if record.local is None:
            return
        record.local, record.observation = None, None
        if record.is_committed and record.task is None:
            record.upload = None
        if record.task is not None or record.given_up or record.is_committed or record.is_secured:
            return
        waited_for_quiet = isinstance(record.assessment, Unfinished) and record.assessment.waits_only_for_quiet
        if record.capture is not None or waited_for_quiet:
            vanish(record, "deleted from disk before it was committed")
        else:
            del self._records[record.name]  # it was never finished, so nothing that the trainer finished is lost
        self._dropped.append(record)

    def _take_in_change(self, record: Record, before: LocalCheckpoint | None, local: LocalCheckpoint, now: float) -> None:
        _compare_anew(record, local)
        if record.capture is None:
            still_going = record.vanished is not None and before is not None and _only_lost_files(before, local)
            if record.given_up and not still_going:
                record.begin_anew()
            return
        if _only_lost_files(record.capture.checkpoint, local):
            if record.task is None and not record.given_up and not record.is_secured:
                vanish(record, "being deleted from disk before it was committed")
                self._dropped.append(record)
            return
        if _is_overtaken(record, local):
            record.overtaken = True
            return
        record.begin_anew()
        if record.task is not None:
            record.changed_under_us(now)
            record.task.cancel()

    def _forget_the_oldest_gone(self) -> None:
        gone = [r for r in self._records.values() if r.local is None and r.task is None and r.early is None and (r.committed or r.given_up)]
        gone.sort(key=_committed_at)
        for record in gone[:-_KEEP_GONE]:
            del self._records[record.name]


def _is_overtaken(record: Record, local: LocalCheckpoint) -> bool:
    """Whether what was captured is worth being sent to its end: it is ours whatever the trainer writes, and has been sent in part.

    Else a trainer that saves more often than an upload takes would never have one committed. Only a new save of the same files counts:
    where files come, what was captured was not whole."""
    capture = record.capture
    if capture is None or not (capture.checkpoint.in_place or record.loses_to_rewrites) or not record.is_secured:
        return False
    same_files = {file.path for file in local.files} == {file.path for file in capture.checkpoint.files}
    return same_files and (record.task is not None or record.has_gone_in_part)


def vanish(record: Record, why: str) -> None:
    record.vanished = why
    record.capture = None
    log.warning("checkpoint.vanished", name=record.name, why=why)


def _compare_anew(record: Record, local: LocalCheckpoint) -> None:
    """What was known of the old content no longer holds. Where sizes and times tell, no store is needed to know again."""
    known, record.recognised, record.likeness = record.recognised, False, None
    if known and record.committed is not None:
        likeness = compare(local, record.committed).likeness
        if likeness is not Likeness.UNSURE:
            record.likeness, record.recognised = likeness, True
            if record.is_committed and record.task is None:
                record.capture = None


def _only_lost_files(before: LocalCheckpoint, now: LocalCheckpoint) -> bool:
    """Whether every file that is there now was there before with the same content, and some are missing."""
    then = {file.path: file.stat for file in before.files}
    kept = all(file.path in then and same_content(file.stat, then[file.path]) for file in now.files)
    return kept and len(now.files) < len(before.files)


def _committed_at(record: Record) -> float:
    manifest: Manifest | None = record.committed
    return manifest.committed_at.timestamp() if manifest else 0.0
