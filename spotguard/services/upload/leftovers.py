"""Unfinished uploads of earlier lives: found by listing, proven part by part against the local file, gone on with or thrown away.

Nothing is kept on this machine for that. An upload is gone on with only where the store shows that its parts have the local bytes. One
that is of no use is aborted only if it is open on the very key that is about to be created, and only while this daemon holds the run: so
its owner is a daemon that writes no more, and if it completed it all the same, it would be in the way of what is committed there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from spotguard.core.part_cut import Part, cut_by, step_of_listed
from spotguard.ports.checkpoint_volume import HeldFile
from spotguard.ports.object_store import StoreDenied, StoreError, StoreRejected
from spotguard.ports.part_transfer import ListedPart, PartTransfer, SentPart, Slice, Upload
from spotguard.ports.stored_content import StoredContent

log = structlog.get_logger()

OLDEST_SECONDS = 3 * 24 * 3600.0
"""S3 dates an object from the beginning of its upload, and a commit names none that is older than 3 days (docs/architecture.md)."""
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Leftover:
    """An upload to go on with."""

    upload: Upload
    step: int
    """Its part size, which need not be today's."""
    parts: Mapping[int, SentPart]
    """Those that have the local file's bytes, by number."""

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts.values())


class Leftovers:
    def __init__(
        self,
        transfer: PartTransfer,
        stored: StoredContent,
        prefix: str,
        *,
        store_now: Callable[[], float],
        may_abort: Callable[[], bool],
    ) -> None:
        """`prefix`: of all keys of the run. `store_now`: seconds since the epoch by S3's clock. `may_abort`: whether this daemon holds the
        run now."""
        self._transfer = transfer
        self._stored = stored
        self._prefix = prefix
        self.store_now = store_now
        self._may_abort = may_abort
        self._open: dict[str, list[Upload]] | None = None
        self._listing = asyncio.Lock()

    async def take(self, key: str, held: HeldFile, size: int) -> Leftover | None:
        """The upload to this key that has most of the file's bytes already, at most once; the others are thrown away.

        Raises FileShrank, OSError. A store that fails here costs the bytes that might have been saved, no more."""
        uploads = (await self._listed()).pop(key, [])
        try:
            found = [leftover for upload in uploads if (leftover := await self._examine(upload, held, size)) is not None]
        except BaseException:
            if uploads and self._open is not None:
                self._open[key] = uploads  # cancelled, or the file was cut: the next one to ask looks again
            raise
        best = max(found, key=lambda leftover: leftover.size, default=None)
        for upload in uploads:
            if best is None or upload.upload_id != best.upload.upload_id:
                await self._throw_away(upload)
        if best is not None:
            log.info("upload.resumed", key=key, kept_bytes=best.size, size_bytes=size, parts=len(best.parts))
        return best

    async def _listed(self) -> dict[str, list[Upload]]:
        """What was open when this life first asked, less what was taken; what is begun later is this daemon's own."""
        async with self._listing:
            if self._open is None:
                try:
                    uploads = await self._transfer.unfinished(self._prefix)
                except (StoreDenied, StoreRejected) as error:
                    log.warning("uploads.not_listed", reason=str(error), means="unfinished uploads are not gone on with")
                    uploads = ()
                except StoreError:
                    return {}  # the next file asks again
                self._open = {}
                for upload in uploads:
                    self._open.setdefault(upload.key, []).append(upload)
            return self._open

    async def _examine(self, upload: Upload, held: HeldFile, size: int) -> Leftover | None:
        try:
            listed = await self._transfer.parts(upload)
        except StoreError:
            return None
        step = step_of_listed(size, {part.number: part.size for part in listed})
        if step is None or self._is_old(upload, listed):
            return None
        cuts = {part.number: part for part in cut_by(size, step)}
        proven = await self._proven(listed, cuts, held)
        return Leftover(upload, step, proven) if proven else None

    async def _proven(self, listed: Sequence[ListedPart], cuts: Mapping[int, Part], held: HeldFile) -> Mapping[int, SentPart]:
        limit = asyncio.Semaphore(_AT_ONCE)

        async def confirmed(part: ListedPart) -> SentPart | None:
            async with limit:
                return await self._stored.confirm(part, Slice(held.fd, cuts[part.number].offset, part.size))

        answers = await asyncio.gather(*(confirmed(part) for part in listed))
        return {part.number: part for part in answers if part is not None}

    def _is_old(self, upload: Upload, listed: Sequence[ListedPart]) -> bool:
        moments = [moment for moment in (upload.initiated, *(part.modified for part in listed)) if moment is not None]
        return not moments or self.store_now() - max(moments) > OLDEST_SECONDS

    async def _throw_away(self, upload: Upload) -> None:
        if not self._may_abort():
            return
        try:
            await self._transfer.abort(upload)
        except StoreError as error:
            log.info("upload.not_aborted", key=upload.key, reason=str(error))  # the janitor comes by later
        else:
            log.info("upload.aborted", key=upload.key, reason="left by an earlier life, and of no use")
