"""Sends the parts of one file that is still being written, as they come to lie behind the writer.

Nothing of it can become visible: the upload is completed only when the file is whole, by whoever sends the whole file to the same key,
and each part counts then only if the file has its checksum.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum

import structlog

from spotguard.core.part_cut import Part
from spotguard.core.reuse import KnownFiles
from spotguard.core.streaming import is_due, outgrows
from spotguard.ports.checkpoint_volume import CheckpointVolume, Growth, HeldFile
from spotguard.ports.object_store import StoreError, UploadMissing
from spotguard.ports.part_transfer import FileShrank, Progress
from spotguard.services.upload.begun_upload import BegunUpload
from spotguard.services.upload.part_engine import PartEngine
from spotguard.services.upload.part_slots import Rank

log = structlog.get_logger()

_POLL_SECONDS = 0.1
_REST_SECONDS = 2.0
_FAILURES = 3
IDLE_SECONDS = 600.0
"""What was left half written so long ago will hardly be written on; its parts cost money."""


class Ending(Enum):
    """Why nothing more of a file is sent ahead."""

    WHOLE = "it is sent as a whole file"
    GONE = "it was deleted, or another file got its name"
    REWRITTEN = "it was cut off and is written anew"
    KNOWN = "it begins like a file that is committed"
    TOO_LARGE = "it has outgrown its parts"
    IDLE = "nobody writes it any more"
    FAILED = "the store does not take it"

    @property
    def is_in_vain(self) -> bool:
        """Whether what has gone is thrown away."""
        return self not in (Ending.WHOLE, Ending.FAILED)


class GrowingFile:
    def __init__(self, engine: PartEngine, volume: CheckpointVolume, held: HeldFile, key: str, rank: Rank, progress: Progress) -> None:
        """`rank`: of its parts while it grows. `progress`: told of what goes."""
        self._engine = engine
        self._volume = volume
        self._held = held
        self._key = key
        self._rank = rank
        self._progress = progress
        self._next = 1
        """No part below it is missing."""
        self._failures = 0
        self._lost = False
        """Whether somebody aborted the upload."""
        self._last: Growth | None = None
        self._idle_since = 0.0

    async def send(self, metadata: Mapping[str, str], step: int, known: KnownFiles) -> Ending:
        """Send parts of `step` bytes until the file is sent as a whole one, or there is a reason to end. Raises OSError, StoreError.

        On return nothing reads the file. Cancelled: what has gone stays, for whoever sends the file next, in this life or a later one."""
        growth = await self._volume.growth(self._held, 0)
        if await self._begins_like(known, growth.filled):
            return Ending.KNOWN
        begun = await self._engine.begin_ahead(self._key, self._held, growth.size, metadata, step)
        if begun is None:
            return Ending.WHOLE
        try:
            if (ending := await self._follow(begun)) is Ending.WHOLE:
                await begun.all_landed()
        finally:
            await begun.ground()
        if begun.taken_over.is_set():  # perhaps only while its parts were stopped: it is not ours to throw away any more
            return Ending.WHOLE
        if ending is not Ending.FAILED or self._lost:
            await self._engine.forget(self._key, begun)
        return ending

    async def _begins_like(self, known: KnownFiles, filled: int) -> bool:
        """What an earlier checkpoint has is copied inside the store once it is whole: sending it would cost the link for nothing.

        However many sizes are known, no byte is read twice."""
        read, crc = 0, 0
        for size, sums in sorted(known.beginnings().items()):
            if size > filled:
                break
            piece = await self._volume.checksum(self._held, read, size - read)
            crc, read = self._engine.combine([(crc, read), (piece, size - read)]), size
            if crc in sums:
                return True
        return False

    async def _follow(self, begun: BegunUpload) -> Ending:
        while not begun.taken_over.is_set():
            while self._next in begun.unproven or self._next in begun.flying:
                self._next += 1
            offset = (self._next - 1) * begun.step
            growth = await self._volume.growth(self._held, offset)
            if (ending := self._ends(begun, growth)) is not None:
                return ending
            if is_due(self._next, growth.filled, begun.step):
                await self._send(begun, Part(self._next, offset, begun.step))
            else:
                await _set_within(begun.taken_over, _POLL_SECONDS)
        return Ending.WHOLE

    def _ends(self, begun: BegunUpload, growth: Growth) -> Ending | None:
        now = asyncio.get_running_loop().time()
        if growth != self._last:
            self._last, self._idle_since = growth, now
        if begun.taken_over.is_set():
            return Ending.WHOLE
        if not growth.has_name:
            return Ending.GONE
        if growth.size < max((*begun.unproven, *begun.flying), default=0) * begun.step:
            return Ending.REWRITTEN
        if outgrows(growth.size, begun.step):
            return Ending.TOO_LARGE
        if self._failures >= _FAILURES:
            return Ending.FAILED
        return Ending.IDLE if now - self._idle_since > IDLE_SECONDS else None

    async def _send(self, begun: BegunUpload, part: Part) -> None:
        """Return when the part is leaving, or is not wanted any more."""
        turn = asyncio.Event()
        task = begun.flying[part.number] = asyncio.ensure_future(self._send_part(begun, part, turn))
        waits = {asyncio.ensure_future(turn.wait()), asyncio.ensure_future(begun.taken_over.wait())}
        try:
            await asyncio.wait({task, *waits}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            if not turn.is_set():
                task.cancel()  # it is sent with the rest, in the order that holds for a whole file

    async def _send_part(self, begun: BegunUpload, part: Part, turn: asyncio.Event) -> None:
        try:
            await self._engine.send_ahead(begun, part, self._held, self._rank, turn.set, self._progress)
            self._failures = 0
        except (StoreError, FileShrank, OSError) as error:
            self._lost = isinstance(error, UploadMissing)
            self._failures += _FAILURES if self._lost else 1
            self._next = min(self._next, part.number)
            log.info("stream.faltered", key=self._key, part=part.number, reason=str(error))
            await _set_within(begun.taken_over, _REST_SECONDS)
        finally:
            del begun.flying[part.number]


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
