"""What the trainer has deleted or written over while it is still being sent: when it is let go after all."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from spotguard.core.checkpoint import Whole
from spotguard.ports.checkpoint_volume import CheckpointVolume
from spotguard.services.replication.dispatcher import Dispatcher
from spotguard.services.replication.examination import Examination
from spotguard.services.replication.records import Record

log = structlog.get_logger()

_SPACE_FACTOR = 2
_COPY_SPACE_FACTOR = 0.5


class Rewrites:
    def __init__(self, volume: CheckpointVolume, examination: Examination, dispatcher: Dispatcher) -> None:
        self._volume = volume
        self._examination = examination
        self._dispatcher = dispatcher

    async def prefer_the_newer(self, record: Record, now: float, *, declared: bool) -> None:
        """In a drain the newest content is what counts: what it overtook is dropped where that is what lets the newer one fit."""
        local, capture = record.local, record.capture
        if local is None or capture is None or record.upload is None:
            return
        left, newer = record.upload.bytes_left(capture.checkpoint.files), local.total_bytes
        if self._dispatcher.fits(left + newer) or not self._dispatcher.fits(newer):
            return
        quiet = record.quiet_seconds(now)
        if isinstance(await self._examination.assess(local, quiet_seconds=quiet, declared=declared, writer_died=False), Whole):
            self._dispatcher.drop(record)

    async def give_space_back(self, records: Iterable[Record]) -> None:
        """What is gone from the disk, or has been written over, still fills it as long as we hold it: let go before that hurts."""
        gone = [record for record in records if record.local is None or record.overtaken]
        held = [(record, record.capture) for record in gone if record.capture is not None and record.upload and record.upload.holds]
        if not held:
            return
        free = await self._volume.free_bytes()
        for record, capture in held:
            size = capture.checkpoint.total_bytes
            if record.overtaken and free < _COPY_SPACE_FACTOR * size:
                log.warning("checkpoint.dropped", name=record.name, why="its space was needed; the trainer has written over it since")
                self._dispatcher.drop(record)
            elif record.local is None and free < _SPACE_FACTOR * size:
                self._dispatcher.let_go(record, "deleted from disk, and its space was needed before it could be sent")
