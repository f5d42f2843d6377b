"""How bytes of local files get into the bucket and back: one request per part.

Whoever calls decides the cut, the order and the retries; each verb here is one attempt. Errors are those of
`spotguard.ports.object_store`. CRC64NVME values are integers; the bytes read are what is sent and what is summed, so the sum
of a part is true even if the file changes under our hands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol


class Slice(NamedTuple):
    """Bytes of an open file. The descriptor stays the caller's and stays open until the verb has returned or raised."""

    fd: int
    offset: int
    size: int


class SentPart(NamedTuple):
    number: int
    """From 1, consecutive."""
    size: int
    etag: str
    crc64nvme: int


class SentObject(NamedTuple):
    key: str
    size: int
    etag: str
    crc64nvme: int


class Upload(NamedTuple):
    """An open multipart upload."""

    key: str
    upload_id: str
    initiated: float | None = None
    """Seconds since the epoch, S3's clock, where a listing told."""


class ListedPart(NamedTuple):
    number: int
    size: int
    etag: str
    crc64nvme: int | None
    modified: float | None = None
    """Seconds since the epoch, S3's clock; None where the listing does not tell."""


Progress = Callable[[int], None]
"""Called in the event loop with the bytes that have gone since the last call (negative when an attempt starts over)."""


class FileShrank(Exception):
    """The file ended before the slice did: it was truncated while it was being sent."""


class PartTransfer(Protocol):
    async def put(
        self, key: str, body: Slice, *, only_new: bool, metadata: Mapping[str, str], progress: Progress | None = None
    ) -> SentObject:
        """Send a whole object in one request. `only_new`: `If-None-Match: *`, raises ObjectExists.

        Cancelled: the request is given up; the object is there or not."""
        ...

    async def begin(self, key: str, *, metadata: Mapping[str, str]) -> Upload:
        """Open a multipart upload with full-object CRC64NVME. A lost answer leaves an open upload behind (see `unfinished`)."""
        ...

    async def send_part(self, upload: Upload, number: int, body: Slice, *, progress: Progress | None = None) -> SentPart:
        """Send one part; sending a number again replaces it. Raises UploadMissing. Cancelled: the part is there or not."""
        ...

    async def complete(self, upload: Upload, parts: Sequence[SentPart], *, only_new: bool) -> SentObject:
        """Make the object of its parts, with the combined checksum for the store to verify.

        Raises ObjectExists, ConcurrentWrite (the upload is lost), UploadMissing (maybe completed by an attempt whose answer was
        lost: HEAD the key), ChecksumRefused."""
        ...

    async def abort(self, upload: Upload) -> None:
        """Throw the upload and its parts away; one that is gone is no error."""
        ...

    async def unfinished(self, prefix: str) -> Sequence[Upload]:
        """The open multipart uploads whose key starts with `prefix`."""
        ...

    async def parts(self, upload: Upload) -> Sequence[ListedPart]:
        """What the store has of an open upload, by number. Raises UploadMissing."""
        ...

    async def fetch(self, key: str, into: Slice, *, etag: str | None = None, progress: Progress | None = None) -> int:
        """Write the object's bytes `into.offset … + into.size` to the same offsets of the open file; returns their CRC64NVME.

        Raises ObjectMissing, StoreUnavailable (also for a body that ends early), StoreRejected (also when `etag` does not match).
        Cancelled or failed: the slice holds anything."""
        ...

    def combine(self, parts: Sequence[tuple[int, int]]) -> int:
        """The CRC64NVME of consecutive pieces from each one's (CRC64NVME, size)."""
        ...

    def limit_rate(self, bytes_per_second: float | None) -> None:
        """Cap what all uploads together send, from now on; None lifts the cap at once."""
        ...
