"""What a bucket must do for us: small objects whole, listings, and errors with names.

Keys are absolute in the bucket. Every verb may be called concurrently and repeated; cancelling one leaves the bucket as if the
request had been lost on its way: done or not done, never half. Adapters map every foreign failure to one of these errors, with
the message saying what happened to which object, and chain the cause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class StoreError(Exception):
    """A request to the store failed. `str()` is one line for people; `fix` says what to do about it."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


class StoreUnavailable(StoreError):
    """No answer, a broken one, a 5xx or a throttle: trying again is sane."""


class StoreDenied(StoreError):
    """Credentials are missing, expired or not enough (401, 403). Never to be read as `there is nothing`."""


class BucketMissing(StoreError):
    """The bucket does not exist or is in another region."""


class StoreRejected(StoreError):
    """The store understood and refuses (any other 4xx, 501); repeating the same request is pointless."""


class ObjectMissing(StoreError):
    """404 for a key."""


class ObjectExists(StoreError):
    """412: the condition `must not exist yet` does not hold. May be our own earlier write whose answer was lost."""


class ConcurrentWrite(StoreError):
    """409: somebody writes the same key right now. A multipart upload is lost with it."""


class UploadMissing(StoreError):
    """The multipart upload is not open (any more): aborted, or completed by a request whose answer was lost."""


class ChecksumRefused(StoreError):
    """The store computed another checksum than we sent (400 BadDigest): the bytes changed on their way."""


class StoredObject(NamedTuple):
    """One line of a listing."""

    key: str
    size: int
    etag: str
    """Without quotes; an opaque version token, never a hash."""
    modified: float
    """Seconds since the epoch, S3's clock."""


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What a HEAD tells."""

    key: str
    size: int
    etag: str
    modified: float
    crc64nvme: int | None
    """Full-object checksum that the store keeps; None where it keeps none."""
    metadata: Mapping[str, str] = field(default_factory=dict)


class ObjectStore(Protocol):
    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> Sequence[StoredObject]:
        """All objects whose key starts with `prefix`, sorted by key, after `start_after`; at most `limit`.

        An empty answer means that there are none, never that we may not look (StoreDenied)."""
        ...

    async def head(self, key: str) -> ObjectFacts:
        """Raises ObjectMissing. A 403 is StoreDenied even where it may mean `missing` (no s3:ListBucket)."""
        ...

    async def read(self, key: str, *, max_bytes: int = 64 << 20) -> bytes:
        """The whole content. Raises ObjectMissing, or StoreRejected when it is larger than `max_bytes`."""
        ...

    async def create(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        """Write a new object (`If-None-Match: *`). On return it is durable and its checksum was verified where the store can.

        Raises ObjectExists when the key is taken: read it back before calling that a conflict. ConcurrentWrite: try again."""
        ...

    async def replace(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        """Write an object whether it exists or not: last write wins. Only for our own mutable objects."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; missing ones are no error. Raises on the first that could not be deleted."""
        ...

    def clock_offset(self) -> float | None:
        """Seconds to add to the local wall clock to get the store's, from the `Date` of its latest answer; None before any."""
        ...
