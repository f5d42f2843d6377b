"""What it takes to set a bucket up: make it, and read and write its settings.

Errors are those of `spotguard.ports.object_store`, and two more.
"""

from __future__ import annotations

from typing import Protocol

from spotguard.core.bucket_settings import Document
from spotguard.ports.object_store import StoreError


class BucketTaken(StoreError):
    """The name belongs to somebody else, or to a bucket that these credentials may not look at."""


class SettingUnsupported(StoreError):
    """The store does not know this setting."""


class BucketAdmin(Protocol):
    async def exists(self) -> bool:
        """Whether the bucket is there and ours to use. Raises BucketTaken, BucketMissing (it is in another region), StoreError."""
        ...

    async def create(self) -> None:
        """Make it in the region of the connection. One that is ours already is no error. Raises BucketTaken, StoreError."""
        ...

    async def read(self, setting: str) -> Document | None:
        """A setting by the name that `core.bucket_settings` gives it; None where it was never made.

        Raises StoreDenied, SettingUnsupported, BucketMissing, StoreUnavailable."""
        ...

    async def write(self, setting: str, document: Document) -> None:
        """Replace a setting. Raises as `read` does, and StoreRejected for a document that the store refuses."""
        ...

    @property
    def secure(self) -> bool:
        """Whether requests go over TLS. Known after the first answer."""
        ...
