"""Many small objects at once: what one request at a time would spend on each of them is spent once for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from spotguard.ports.part_transfer import SentObject, Slice

MOST_BYTES = 128 << 10
"""Up to this size the cost of a request outweighs that of the bytes."""


class Offered(NamedTuple):
    key: str
    """Absolute in the bucket."""
    body: Slice
    """Not empty, at most MOST_BYTES."""


class BulkSend(Protocol):
    async def send_all(self, offered: Sequence[Offered], *, metadata: Mapping[str, str]) -> Sequence[SentObject | None]:
        """Create these objects, one request each; what is there already is not overwritten. The answers are in order.

        One that was not created beyond doubt is None, whatever the reason: `PartTransfer.put` creates it or says why. Raises nothing.
        Cancelled: each object is there or not, and no descriptor is in use any more."""
        ...
