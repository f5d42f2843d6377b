"""Many small objects at once: what one request at a time would spend on each of them is spent once for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from spotguard.ports.part_transfer import Slice

SMALL_BYTES = 256 << 10
"""Up to this size the cost of a request outweighs that of the bytes."""


class Wanted(NamedTuple):
    key: str
    """Absolute in the bucket."""
    into: Slice
    """As large as the object should be."""


class BulkFetch(Protocol):
    async def fetch_all(self, wanted: Sequence[Wanted]) -> Sequence[int | None]:
        """Write these objects, each whole and none above SMALL_BYTES, to their slices; returns their CRC64NVME, in order.

        One that did not come is None, whatever the reason: `PartTransfer.fetch` brings it or says why. Raises nothing. Cancelled: the
        slices hold anything, and no descriptor is in use any more."""
        ...
