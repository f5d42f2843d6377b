"""The one retry layer over the object store: the same port, each verb tried again as `insistence` says.

What may have been done although no answer came is settled here too: a write that then meets `exists` is read back before it is
called somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spotguard.adapters.s3.insistence import Budget, Insistence
from spotguard.adapters.s3.retrying_transfer import RetryingTransfer
from spotguard.core.backoff import RetryPolicy
from spotguard.ports.object_store import ObjectExists, ObjectFacts, ObjectStore, StoredObject, StoreRejected

__all__ = ["Budget", "RetryingStore", "RetryingTransfer"]


class RetryingStore:
    """`budget`: seconds left to the deadline, asked before each wait; None means that there is none."""

    def __init__(self, inner: ObjectStore, policy: RetryPolicy, budget: Budget) -> None:
        self._inner = inner
        self._insist = Insistence(policy, budget)

    @property
    def retries_total(self) -> int:
        return self._insist.total

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> Sequence[StoredObject]:
        return await self._insist.on("list", prefix, lambda _: self._inner.list(prefix, start_after=start_after, limit=limit))

    async def head(self, key: str) -> ObjectFacts:
        return await self._insist.on("head", key, lambda _: self._inner.head(key))

    async def read(self, key: str, *, max_bytes: int = 64 << 20) -> bytes:
        return await self._insist.on("read", key, lambda _: self._inner.read(key, max_bytes=max_bytes))

    async def create(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        """Success also when the object that is in the way has these very bytes and an attempt of this call went unanswered."""
        unsure = False

        async def attempt(unanswered: bool) -> StoredObject:
            nonlocal unsure
            unsure = unanswered
            return await self._inner.create(key, body, metadata=metadata)

        try:
            return await self._insist.on("create", key, attempt, conflicts=True)
        except ObjectExists:
            found = await self._read_back(key, body) if unsure else None
            if found is None:
                raise
            return found

    async def replace(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        return await self._insist.on("replace", key, lambda _: self._inner.replace(key, body, metadata=metadata))

    async def delete(self, keys: Sequence[str]) -> None:
        await self._insist.on("delete", keys[0] if keys else "", lambda _: self._inner.delete(keys))

    def clock_offset(self) -> float | None:
        return self._inner.clock_offset()

    async def _read_back(self, key: str, body: bytes) -> StoredObject | None:
        facts = await self.head(key)
        if facts.size != len(body):
            return None
        try:
            same = await self.read(key, max_bytes=len(body)) == body
        except StoreRejected:
            return None  # it grew meanwhile: somebody else's
        return StoredObject(key, facts.size, facts.etag, facts.modified) if same else None
