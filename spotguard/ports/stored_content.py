"""What lies in the bucket already and so need not be sent: objects to copy from, parts of unfinished uploads.

Nothing is believed here: a copy or a part counts only when the store shows that it has the bytes of the local file. Errors are
those of `spotguard.ports.object_store`. Every verb is one attempt and may be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from spotguard.ports.object_store import StoreError
from spotguard.ports.part_transfer import ListedPart, SentObject, SentPart, Slice, Upload


class CopyUnproven(StoreError):
    """The store copied, but what it tells of the copy is not what the local bytes have. It must not be used."""


class StoredContent(Protocol):
    @property
    def whole_copy_bytes(self) -> int:
        """Up to this size `copy` may be used: in one request, and refused where the key is taken. 0: that is not known of this store."""
        ...

    async def copy(self, source: str, key: str, *, size: int, crc64nvme: int, metadata: Mapping[str, str]) -> SentObject:
        """Make `key` a copy of the object `source`, with this metadata instead of its own and this run's storage settings.

        On return the object is durable and the store said that it has this size and checksum. Raises ObjectMissing (the source is gone),
        ObjectExists, ConcurrentWrite, CopyUnproven (an object that nobody may use lies at `key`). Cancelled: it is there or not."""
        ...

    async def copy_part(self, upload: Upload, number: int, source: str, body: Slice, *, crc64nvme: int) -> SentPart:
        """Make a part of an open upload from the bytes of `source` at the offsets of `body`, which is the local file's equal slice.

        On return the store said that the part has this checksum, or its ETag is the MD5 of the local bytes. Raises ObjectMissing (the
        source is gone), UploadMissing, CopyUnproven (send the part: that replaces it). Cancelled: the part is there or not."""
        ...

    async def confirm(self, listed: ListedPart, body: Slice) -> SentPart | None:
        """The listed part as one that was sent, if it has the bytes of this slice: by its checksum, or where the store lists none, by an
        ETag that is their MD5. None: it must be sent again. Asks the local file only. Raises FileShrank, OSError."""
        ...
