"""Finds the files that are still being written and has them sent meanwhile; stops that where it is of no use, or in the way.

Nobody tells that a file grows (the watch of the folder leaves writes out, of which there are thousands a second), so the newest files of
what is not whole are looked at a few times a second for as long as they change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog

from spotguard.core.checkpoint import FileStat, LocalFile
from spotguard.core.streaming import LEAST_PARTS, kind_of, may_grow_whole
from spotguard.ports.checkpoint_volume import CheckpointVolume
from spotguard.ports.clock import Clock
from spotguard.services.replication.attempts import Attempts
from spotguard.services.replication.records import Record
from spotguard.services.upload.growing_file import Ending

log = structlog.get_logger()

_POLL_SECONDS = 0.2
_SHOWN_SECONDS = 2.0
"""How often the loop looks at what is being sent ahead, so that the status tells how far it has come."""
_WATCHED_SECONDS = 30.0
"""A file that has not changed for so long is not looked at any more until a look of the loop finds it changed."""
_MOST_WATCHED = 32
_MOST_SENT = 16
"""Files at a time, as each is held open and looked at: more do not make a link faster."""
_AGAIN_SECONDS = 10.0


@dataclass(slots=True)
class _Watched:
    """A file that may be about to grow. Not frozen: brought up to date with each look."""

    record: Record
    file: LocalFile
    stat: FileStat
    changed_at: float
    """Monotonic; when it was last seen to change."""
    grows: bool = False
    """Whether it was seen to change."""


class Streams:
    def __init__(
        self,
        attempts: Attempts,
        volume: CheckpointVolume,
        clock: Clock,
        *,
        part_bytes: int,
        nudge: Callable[[str | None], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._attempts = attempts
        self._volume = volume
        self._clock = clock
        self._least_bytes = LEAST_PARTS * part_bytes
        self._nudge = nudge
        self._spawn = spawn
        self._watched: dict[str, _Watched] = {}
        """By source."""
        self._sent: dict[str, Record] = {}
        """By source: what is being sent ahead."""
        self._closed: set[str] = set()
        """Those of them that their writer has closed."""
        self._watching: asyncio.Task[None] | None = None
        self._not_before: dict[str, float] = {}
        """By source, monotonic: what ended for no fault of the file is begun again then."""
        self._rewritten: set[str] = set()
        """Kinds of files that are written over: sending them ahead is for nothing."""

    def align(self, records: Iterable[Record], closed: Collection[str], *, paused: bool) -> None:
        """Bring what is being sent ahead into line with what a look found. `paused`: nothing is to be sent ahead now."""
        now = self._clock.monotonic()
        self._closed.update(source for source in self._sent if source in closed)
        candidates: list[_Watched] = []
        for record in records:
            self._learn_losses(record)
            streams = _may_stream(record) and (record.task is not None or not paused)  # what is sent as a whole takes it over
            if not streams:
                for task in record.ahead.values():
                    task.cancel()
            if streams and record.capture is None and not paused and self._volume.holds_are_safe():
                candidates.extend(self._candidates(record, closed, now))
        newest = sorted(candidates, key=lambda watched: watched.stat.mtime_ns, reverse=True)[:_MOST_WATCHED]
        self._watched = {watched.file.source: watched for watched in newest}
        if self._watched and self._watching is None:
            self._watching = self._spawn(self._watch())

    def is_open(self, record: Record, file: LocalFile) -> bool:
        """Whether it was seen to grow, and its writer has not closed it yet as far as is known."""
        watched = self._watched.get(file.source)
        grows = file.path in record.ahead or (watched is not None and watched.grows)
        return grows and file.source not in self._closed

    def _candidates(self, record: Record, closed: Collection[str], now: float) -> Iterator[_Watched]:
        wall = self._clock.wall().timestamp()
        for file in record.local.files if record.local is not None else ():
            if file.path in record.ahead or file.source in closed or self._attempts.knows(record, file.path):
                continue
            known = self._watched.get(file.source)
            if known is not None and known.record is record and _same_file(known.stat, file.stat):
                yield known
            elif wall - file.stat.mtime_ns / 1e9 < _WATCHED_SECONDS and self._is_of_use(file, now):
                yield _Watched(record, file, file.stat, now)

    def _is_of_use(self, file: LocalFile, now: float) -> bool:
        return may_grow_whole(file) and kind_of(file.source) not in self._rewritten and self._not_before.get(file.source, now) <= now

    async def _watch(self) -> None:
        """While there is anything to watch, or to show."""
        try:
            shown_at = self._clock.monotonic()
            while self._watched or self._sent:
                await asyncio.sleep(_POLL_SECONDS)
                now = self._clock.monotonic()
                for source, stat in (await self._volume.stat(list(self._watched))).items():
                    self._take_in(source, stat, now)
                if now - shown_at >= _SHOWN_SECONDS:
                    shown_at = now
                    for name in {record.name for record in self._sent.values()}:
                        self._nudge(name)
        finally:
            self._watching = None

    def _take_in(self, source: str, stat: FileStat | None, now: float) -> None:
        watched = self._watched.get(source)
        if watched is None:
            return  # a look of the loop came between
        if stat is None or not _same_file(stat, watched.stat) or now - watched.changed_at > _WATCHED_SECONDS:
            del self._watched[source]
        elif (stat.size, stat.mtime_ns) != (watched.stat.size, watched.stat.mtime_ns):
            watched.stat, watched.changed_at, watched.grows = stat, now, True
            if stat.size >= self._least_bytes and len(self._sent) < _MOST_SENT:
                del self._watched[source]
                self._sent[source] = watched.record
                watched.record.ahead[watched.file.path] = self._spawn(self._send(watched.record, watched.file))

    async def _send(self, record: Record, file: LocalFile) -> None:
        ending: Ending | None = None
        try:
            ending = await self._attempts.ahead(record, file)
            await self._learn(file, ending)
        finally:
            record.ahead.pop(file.path, None)
            self._sent.pop(file.source, None)
            self._closed.discard(file.source)
            self._nudge(record.name)

    async def _learn(self, file: LocalFile, ending: Ending | None) -> None:
        """What the end of it means for the files to come."""
        self._not_before = {source: at for source, at in self._not_before.items() if at > self._clock.monotonic()}
        self._not_before[file.source] = self._clock.monotonic() + _AGAIN_SECONDS
        replaced = ending is Ending.GONE and (await self._volume.stat([file.source]))[file.source] is not None
        if ending is Ending.REWRITTEN or replaced:
            self._note_rewritten(file.source, "another file got its name" if replaced else Ending.REWRITTEN.value)

    def _learn_losses(self, record: Record) -> None:
        if record.upload is None or record.local is None or not (vain := record.upload.tally.take_vain()):
            return
        for file in record.local.files:
            if file.path in vain:
                self._note_rewritten(file.source, "what was sent of it was written over before it was whole")

    def _note_rewritten(self, source: str, why: str) -> None:
        """Files of this kind are not sent ahead any more."""
        if (kind := kind_of(source)) not in self._rewritten:
            self._rewritten.add(kind)
            log.info("stream.off", kind=kind, why=why, means="such files are sent once they are written")


def _may_stream(record: Record) -> bool:
    """One that is written over again and again would be sent in vain."""
    local = record.local
    if local is None or local.broken or local.in_place or record.loses_to_rewrites:
        return False
    return record.recognised and record.committed is None and not record.given_up


def _same_file(one: FileStat, other: FileStat) -> bool:
    return (one.device, one.inode) == (other.device, other.inode)
