"""The one retry layer over the stored-content port. A copy is a favour: where it fails or lingers, the bytes are sent instead, so it gets
few attempts and little time, whatever the deadline is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from spotguard.adapters.s3.insistence import Insistence
from spotguard.core.backoff import RetryPolicy
from spotguard.ports.object_store import ObjectExists, ObjectMissing, ObjectStore, StoreUnavailable
from spotguard.ports.part_transfer import ListedPart, SentObject, SentPart, Slice, Upload
from spotguard.ports.stored_content import StoredContent

T = TypeVar("T")

COPY_POLICY = RetryPolicy(attempts=3)
_BYTES_PER_SECOND = 32 << 20
"""A copy that is slower than this is given up: sending is not."""


class RetryingCopies:
    """`store` is asked what became of a copy that was not answered. `limit_seconds`: for one verb with all its attempts, beyond what the
    bytes take at 32 MiB/s; then StoreUnavailable."""

    def __init__(self, inner: StoredContent, store: ObjectStore, policy: RetryPolicy = COPY_POLICY, *, limit_seconds: float = 10.0) -> None:
        self._inner = inner
        self._store = store
        self._insist = Insistence(policy, lambda: None)
        self._limit_seconds = limit_seconds

    @property
    def retries_total(self) -> int:
        return self._insist.total

    @property
    def whole_copy_bytes(self) -> int:
        return self._inner.whole_copy_bytes

    async def copy(self, source: str, key: str, *, size: int, crc64nvme: int, metadata: Mapping[str, str]) -> SentObject:
        """Success also when the object that is in the way is the copy that an unanswered attempt made."""
        unsure = False

        async def attempt(unanswered: bool) -> SentObject:
            nonlocal unsure
            unsure = unanswered
            return await self._inner.copy(source, key, size=size, crc64nvme=crc64nvme, metadata=metadata)

        try:
            return await self._limited(self._insist.on("copy", key, attempt, conflicts=True), key, size)
        except ObjectExists:
            found = await self._made_before(key, size, crc64nvme, metadata) if unsure else None
            if found is None:
                raise
            return found

    async def copy_part(self, upload: Upload, number: int, source: str, body: Slice, *, crc64nvme: int) -> SentPart:
        copying = self._insist.on(
            "copy_part", upload.key, lambda _: self._inner.copy_part(upload, number, source, body, crc64nvme=crc64nvme)
        )
        return await self._limited(copying, upload.key, body.size)

    async def confirm(self, listed: ListedPart, body: Slice) -> SentPart | None:
        return await self._inner.confirm(listed, body)

    async def _limited(self, copying: Awaitable[T], key: str, size: int) -> T:
        seconds = self._limit_seconds + size / _BYTES_PER_SECOND
        try:
            async with asyncio.timeout(seconds):
                return await copying
        except TimeoutError as error:
            raise StoreUnavailable(f"copy to {key}: not done within {seconds:.0f} s", "nothing: the bytes are sent instead") from error

    async def _made_before(self, key: str, size: int, crc64nvme: int, metadata: Mapping[str, str]) -> SentObject | None:
        try:
            facts = await self._insist.on("head", key, lambda _: self._store.head(key))
        except ObjectMissing:
            return None
        ours = facts.size == size and facts.crc64nvme == crc64nvme and dict(facts.metadata) == dict(metadata)
        return SentObject(key, size, facts.etag, crc64nvme) if ours else None
