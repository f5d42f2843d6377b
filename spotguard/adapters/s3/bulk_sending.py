"""The bulk-send port: batches of small objects over our own connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.part_sending import BodySender, Target
from spotguard.adapters.s3.store_wire import StoreWire
from spotguard.adapters.wire.small_requests import SmallSend
from spotguard.ports.bulk_send import Offered
from spotguard.ports.object_store import StoreError
from spotguard.ports.part_transfer import SentObject


class BulkSender:
    """`sender` knows what the store takes, and holds the cap."""

    def __init__(self, access: S3Access, wire: StoreWire, sender: BodySender) -> None:
        self._access, self._wire, self._sender = access, wire, sender

    async def send_all(self, offered: Sequence[Offered], *, metadata: Mapping[str, str]) -> Sequence[SentObject | None]:
        sizes = [one.body.size for one in offered]
        framed = self._sender.trailers
        subject = self._access.subject("write", offered[0].key)
        headers = {**self._access.settings.creation_headers(metadata), "if-none-match": "*"}
        sends = [SmallSend(one.body, framed=framed) for one in offered]
        try:
            await self._wire.ready(subject)
            ticket = await self._sender.cap.admit(sum(sizes))
            small = [(self._wire.path(one.key), send) for one, send in zip(offered, sends, strict=True)]
            try:
                await self._wire.batch("PUT", small, headers, subject, self._sender.limit_seconds(sum(sizes)), trailer=framed)
            finally:
                self._sender.cap.give_back(sum(size for size, send in zip(sizes, sends, strict=True) if not send.begun), ticket)
            if framed:
                await self._prove(offered, sends)
        except StoreError:
            return [None] * len(offered)  # sent alone, each says why
        return [_sent(one, send) for one, send in zip(offered, sends, strict=True)]

    async def _prove(self, offered: Sequence[Offered], sends: Sequence[SmallSend]) -> None:
        """Raises ChecksumRefused when the store has kept the framing as content."""
        for one, send in zip(offered, sends, strict=True):
            if send.created is not None and not send.created.told:
                await self._sender.prove_trailers(Target(one.key, self._access.subject("write", one.key), {}), one.body.size)
                return


def _sent(one: Offered, send: SmallSend) -> SentObject | None:
    if send.created is None:
        return None
    return SentObject(one.key, one.body.size, send.created.etag, send.created.crc64nvme)
