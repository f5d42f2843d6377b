"""One file to be sent to one key, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from spotguard.ports.checkpoint_volume import HeldFile
from spotguard.ports.part_transfer import Progress, Slice
from spotguard.services.upload.content_sums import ContentSums
from spotguard.services.upload.part_slots import Rank
from spotguard.services.upload.reuse import Duplicate


class ChangedWhileSending(Exception):
    """The file was rewritten under our hands: what was sent is no version of it."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One file to send."""

    held: HeldFile
    size: int
    """Bytes to send from the start of the file."""
    key: str
    metadata: Mapping[str, str]
    rank: Rank
    only_new: bool = True
    may_grow: bool = False
    """True for a loose file: what is appended meanwhile belongs to the next time."""
    duplicate: Duplicate | None = None
    """An object with this content, to be copied instead of sending the bytes."""
    sums: ContentSums | None = None
    """Of the held file; there where `duplicate` is."""
    found: Progress | None = None
    """Told of bytes that need not go: copied, or left in the bucket by an earlier life."""
    judged: Callable[[int, bool], None] | None = None
    """Told of bytes that were sent before the file was whole, and whether it has them."""

    @property
    def body(self) -> Slice:
        """All of it."""
        return Slice(self.held.fd, 0, self.size)


class Placed(NamedTuple):
    """An object with the content of an errand."""

    key: str
    size: int
    etag: str
    crc64nvme: int
    first_part: tuple[int, int] | None = None
    """Size and CRC64NVME of the first part of several."""
    begun_at: float | None = None
    """When an earlier life began its upload, in seconds since the epoch by S3's clock; S3 may date the object from then."""
