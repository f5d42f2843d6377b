"""The bulk-fetch port: batches of small objects over our own connections."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from spotguard.adapters.s3.access import STALL_SECONDS, S3Access
from spotguard.adapters.s3.patience import Patience
from spotguard.adapters.s3.store_wire import StoreWire
from spotguard.adapters.wire.small_requests import SmallFetch
from spotguard.ports.bulk_fetch import Wanted
from spotguard.ports.object_store import StoreError

_BATCHES_AT_ONCE = 3
"""More threads would only wait for one another: a small object costs more in Python than in system calls. Measured with 10,000 files of
100 kB, CPU s: 3.75 with 8 batches of 4 connections, 3.10 with 3 of 8, 2.85 with one."""


class BulkFetcher:
    """Batches beyond a few wait."""

    def __init__(self, access: S3Access, wire: StoreWire, *, stall_seconds: float = STALL_SECONDS) -> None:
        self._access, self._wire = access, wire
        self._patience = Patience(stall_seconds)
        self._room = asyncio.Semaphore(min(_BATCHES_AT_ONCE, access.settings.connections))

    async def fetch_all(self, wanted: Sequence[Wanted]) -> Sequence[int | None]:
        size = sum(one.into.size for one in wanted)
        async with self._room:
            subject = self._access.subject("read", wanted[0].key)
            try:
                await self._wire.ready(subject)
                small = [(self._wire.path(one.key), SmallFetch(one.into)) for one in wanted]
                await self._wire.batch("GET", small, {}, subject, self._patience.seconds(size))
            except StoreError:
                return [None] * len(wanted)  # asked for alone, each says why
            return [request.crc64nvme for _, request in small]
