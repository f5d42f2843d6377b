"""The bulk-send port over any part transfer, one object after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spotguard.ports.bulk_send import Offered
from spotguard.ports.object_store import StoreError
from spotguard.ports.part_transfer import FileShrank, PartTransfer, SentObject


class BulkOver:
    def __init__(self, transfer: PartTransfer) -> None:
        self._transfer = transfer

    async def send_all(self, offered: Sequence[Offered], *, metadata: Mapping[str, str]) -> Sequence[SentObject | None]:
        return [await self._sent(one, metadata) for one in offered]

    async def _sent(self, one: Offered, metadata: Mapping[str, str]) -> SentObject | None:
        try:
            return await self._transfer.put(one.key, one.body, only_new=True, metadata=metadata)
        except (StoreError, FileShrank):
            return None
