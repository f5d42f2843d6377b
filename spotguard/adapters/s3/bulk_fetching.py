"""The bulk-fetch port: batches of small objects over our own connections."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.patience import Patience
from spotguard.adapters.s3.store_wire import StoreWire
from spotguard.adapters.wire.small_requests import SmallFetch
from spotguard.ports.bulk_fetch import Wanted
from spotguard.ports.object_store import StoreError


class BulkFetcher:
    """One batch at a time."""

    def __init__(self, access: S3Access, wire: StoreWire, stall_seconds: float) -> None:
        self._access, self._wire = access, wire
        self._patience = Patience(stall_seconds)
        self._turn = asyncio.Lock()

    async def fetch_all(self, wanted: Sequence[Wanted]) -> Sequence[int | None]:
        size = sum(one.into.size for one in wanted)
        async with self._turn:
            subject = self._access.subject("read", wanted[0].key)
            try:
                await self._wire.ready(subject)
                small = [(self._wire.path(one.key), SmallFetch(one.into)) for one in wanted]
                await self._wire.batch("GET", small, {}, subject, self._patience.seconds(size))
            except StoreError:
                return [None] * len(wanted)  # asked for alone, each says why
            return [request.crc64nvme for _, request in small]
