"""The one retry layer: the same ports, each verb tried again until it is answered, its attempts are used up, or the deadline is near.

What may have been done although no answer came is settled here too: a write that then meets `exists` is read back before it is called
somebody else's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import structlog

from spotguard.core.backoff import RetryPolicy, delay, may_retry
from spotguard.ports.object_store import (
    ConcurrentWrite,
    ObjectExists,
    ObjectFacts,
    ObjectMissing,
    ObjectStore,
    StoredObject,
    StoreUnavailable,
    UploadMissing,
)
from spotguard.ports.part_transfer import ListedPart, PartTransfer, Progress, SentObject, SentPart, Slice, Upload

log = structlog.get_logger()

T = TypeVar("T")
Budget = Callable[[], float | None]
"""Seconds left to the deadline; None when there is none."""


class Retrying:
    """Counts and logs; shared by both decorators."""

    def __init__(self, policy: RetryPolicy, budget: Budget, dice: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._budget = budget
        self._dice = dice
        self.total = 0

    async def insist(self, verb: str, key: str, attempt: Callable[[bool], Awaitable[T]]) -> T:
        """The first answer of `attempt`, which is told whether an earlier one may have been done without an answer."""
        failures = 0
        while True:
            try:
                answer = await attempt(failures > 0)
            except (StoreUnavailable, ConcurrentWrite) as error:
                failures += 1
                wait = delay(self._policy, failures, self._dice)
                if not may_retry(self._policy, failures, wait=wait, seconds_left=self._budget()):
                    raise
                self.total += 1
                if failures == 1:
                    log.info("request.retried", verb=verb, key=key, error=str(error))
                await asyncio.sleep(wait)
            else:
                if failures:
                    log.info("request.recovered", verb=verb, key=key, failures=failures)
                return answer


class RetryingStore:
    def __init__(self, inner: ObjectStore, policy: RetryPolicy, budget: Budget) -> None:
        self._inner = inner
        self._retrying = Retrying(policy, budget)

    @property
    def retries_total(self) -> int:
        return self._retrying.total

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> Sequence[StoredObject]:
        return await self._retrying.insist("list", prefix, lambda _: self._inner.list(prefix, start_after=start_after, limit=limit))

    async def head(self, key: str) -> ObjectFacts:
        return await self._retrying.insist("head", key, lambda _: self._inner.head(key))

    async def read(self, key: str, *, max_bytes: int = 64 << 20) -> bytes:
        return await self._retrying.insist("read", key, lambda _: self._inner.read(key, max_bytes=max_bytes))

    async def create(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        async def attempt(again: bool) -> StoredObject:
            try:
                return await self._inner.create(key, body, metadata=metadata)
            except ObjectExists:
                if not again or await self._inner.read(key) != body:
                    raise
                facts = await self._inner.head(key)
                return StoredObject(key, facts.size, facts.etag, facts.modified)

        return await self._retrying.insist("create", key, attempt)

    async def replace(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        return await self._retrying.insist("replace", key, lambda _: self._inner.replace(key, body, metadata=metadata))

    async def delete(self, keys: Sequence[str]) -> None:
        await self._retrying.insist("delete", keys[0] if keys else "", lambda _: self._inner.delete(keys))

    def clock_offset(self) -> float | None:
        return self._inner.clock_offset()


class RetryingTransfer:
    """`store` is asked what became of an object whose writing was not answered."""

    def __init__(self, inner: PartTransfer, store: ObjectStore, policy: RetryPolicy, budget: Budget) -> None:
        self._inner = inner
        self._store = store
        self._retrying = Retrying(policy, budget)

    @property
    def retries_total(self) -> int:
        return self._retrying.total

    async def put(
        self, key: str, body: Slice, *, only_new: bool, metadata: Mapping[str, str], progress: Progress | None = None
    ) -> SentObject:
        return await self._retrying.insist(
            "put", key, lambda _: self._inner.put(key, body, only_new=only_new, metadata=metadata, progress=progress)
        )

    async def begin(self, key: str, *, metadata: Mapping[str, str]) -> Upload:
        return await self._retrying.insist("begin", key, lambda _: self._inner.begin(key, metadata=metadata))

    async def send_part(self, upload: Upload, number: int, body: Slice, *, progress: Progress | None = None) -> SentPart:
        return await self._retrying.insist(
            "send part", upload.key, lambda _: self._inner.send_part(upload, number, body, progress=progress)
        )

    async def complete(self, upload: Upload, parts: Sequence[SentPart], *, only_new: bool) -> SentObject:
        size = sum(part.size for part in parts)
        checksum = self._inner.combine([(part.crc64nvme, part.size) for part in sorted(parts)])

        async def attempt(again: bool) -> SentObject:
            try:
                return await self._inner.complete(upload, parts, only_new=only_new)
            except (UploadMissing, ObjectExists):
                done = await self._done(upload.key, size, checksum) if again else None
                if done is None:
                    raise
                return done

        return await self._retrying.insist("complete", upload.key, attempt)

    async def _done(self, key: str, size: int, checksum: int) -> SentObject | None:
        """The object, if it is the one that an unanswered attempt made."""
        try:
            facts = await self._store.head(key)
        except ObjectMissing:
            return None
        ours = facts.size == size and facts.crc64nvme == checksum
        return SentObject(key, size, facts.etag, checksum) if ours else None

    async def abort(self, upload: Upload) -> None:
        await self._retrying.insist("abort", upload.key, lambda _: self._inner.abort(upload))

    async def unfinished(self, prefix: str) -> Sequence[Upload]:
        return await self._retrying.insist("list uploads", prefix, lambda _: self._inner.unfinished(prefix))

    async def parts(self, upload: Upload) -> Sequence[ListedPart]:
        return await self._retrying.insist("list parts", upload.key, lambda _: self._inner.parts(upload))

    async def fetch(self, key: str, into: Slice, *, etag: str | None = None, progress: Progress | None = None) -> int:
        return await self._retrying.insist("fetch", key, lambda _: self._inner.fetch(key, into, etag=etag, progress=progress))

    def combine(self, parts: Sequence[tuple[int, int]]) -> int:
        return self._inner.combine(parts)

    def limit_rate(self, bytes_per_second: float | None) -> None:
        self._inner.limit_rate(bytes_per_second)
