"""Copies parts and whole files inside the store instead of sending them. Where that fails, the copy is given up and the bytes are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from spotguard.core.part_cut import Part
from spotguard.core.run_keys import RunKeys
from spotguard.ports.checkpoint_volume import HeldFile
from spotguard.ports.object_store import (
    ChecksumRefused,
    ConcurrentWrite,
    ObjectExists,
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreRejected,
    StoreUnavailable,
)
from spotguard.ports.part_transfer import SentObject, SentPart, Slice, Upload
from spotguard.ports.stored_content import CopyUnproven, StoredContent
from spotguard.services.upload.content_sums import ContentSums
from spotguard.services.upload.reuse import Duplicate

log = structlog.get_logger()

_AT_ONCE = 4
"""They use no link and no memory of ours, only threads, which listings and commits want too."""
_INSTEAD_SENT = (ObjectMissing, StoreRejected, StoreDenied, StoreUnavailable, ChecksumRefused, ConcurrentWrite, CopyUnproven)
"""Reading the source may be denied where writing is not; an outage is met, and told, by the send that follows."""


class PartCopies:
    def __init__(self, stored: StoredContent, keys: RunKeys) -> None:
        self._stored = stored
        self._keys = keys
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def whole(self, duplicate: Duplicate, key: str, size: int, metadata: Mapping[str, str]) -> SentObject | None:
        """The file as one copy at `key`; None where it must be made of parts, or sent.

        Raises ObjectExists, also when what this very copy left at the key is not to be trusted."""
        if not duplicate.usable or size > self._stored.whole_copy_bytes:
            return None
        source = self._keys.absolute(duplicate.source)
        try:
            async with self._room:
                return await self._stored.copy(source, key, size=size, crc64nvme=duplicate.crc64nvme, metadata=metadata)
        except CopyUnproven as error:
            self._give_up(duplicate, key, error)
            raise ObjectExists(f"{key}: the copy there is not proven") from error
        except _INSTEAD_SENT as error:
            self._give_up(duplicate, key, error)
            return None

    async def part(
        self, duplicate: Duplicate, upload: Upload, part: Part, held: HeldFile, sums: ContentSums, begins: Callable[[], None]
    ) -> SentPart | None:
        """The part as a copy, `begins` called when it does; None where it must be sent. Raises UploadMissing, OSError, FileShrank."""
        async with self._room:
            if not duplicate.usable:
                return None
            begins()
            crc = await sums.of(part.offset, part.size)
            body = Slice(held.fd, part.offset, part.size)
            try:
                return await self._stored.copy_part(upload, part.number, self._keys.absolute(duplicate.source), body, crc64nvme=crc)
            except _INSTEAD_SENT as error:
                self._give_up(duplicate, upload.key, error)
                return None

    def _give_up(self, duplicate: Duplicate, key: str, error: StoreError) -> None:
        if duplicate.usable:
            log.info("copy.failed", source=duplicate.source, key=key, reason=str(error), instead="it is sent")
        duplicate.usable = False
