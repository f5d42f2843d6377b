"""The one retry layer over the part transfer: the same port, each verb tried again as `insistence` says.

An object that is in the way with our very bytes counts as ours: it was written by an attempt whose answer was lost, or by
an earlier life of this daemon.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from spotguard.adapters.s3.insistence import Budget, Insistence
from spotguard.adapters.wire.slice_sums import sums_of
from spotguard.core.backoff import RetryPolicy
from spotguard.ports.object_store import ConcurrentWrite, ObjectExists, ObjectFacts, ObjectMissing, ObjectStore, UploadMissing
from spotguard.ports.part_transfer import ListedPart, PartTransfer, Progress, SentObject, SentPart, Slice, Upload

T = TypeVar("T")


class RetryingTransfer:
    """`store` is asked what became of an object whose writing was not answered; `budget` as for `RetryingStore`."""

    def __init__(self, inner: PartTransfer, store: ObjectStore, policy: RetryPolicy, budget: Budget) -> None:
        self._inner = inner
        self._store = store
        self._insist = Insistence(policy, budget)

    @property
    def retries_total(self) -> int:
        return self._insist.total

    async def put(
        self, key: str, body: Slice, *, only_new: bool, metadata: Mapping[str, str], progress: Progress | None = None
    ) -> SentObject:
        counted = _Counted(progress)
        try:
            return await self._insist.on(
                "put",
                key,
                counted.each(lambda told: self._inner.put(key, body, only_new=only_new, metadata=metadata, progress=told)),
                bad_sums=True,
            )
        except (ObjectExists, ConcurrentWrite):
            found = await self._same_content(key, body)
            if found is None:
                raise
            counted.settle(body.size)
            return found

    async def begin(self, key: str, *, metadata: Mapping[str, str]) -> Upload:
        return await self._insist.on("begin", key, lambda _: self._inner.begin(key, metadata=metadata))

    async def send_part(self, upload: Upload, number: int, body: Slice, *, progress: Progress | None = None) -> SentPart:
        send = _Counted(progress).each(lambda told: self._inner.send_part(upload, number, body, progress=told))
        return await self._insist.on("send_part", upload.key, send, bad_sums=True)

    async def complete(self, upload: Upload, parts: Sequence[SentPart], *, only_new: bool) -> SentObject:
        try:
            return await self._insist.on("complete", upload.key, lambda _: self._inner.complete(upload, parts, only_new=only_new))
        except (UploadMissing, ObjectExists, ConcurrentWrite):
            found = await self._same_parts(upload.key, parts)
            if found is None:
                raise
            return found

    async def abort(self, upload: Upload) -> None:
        await self._insist.on("abort", upload.key, lambda _: self._inner.abort(upload))

    async def unfinished(self, prefix: str) -> Sequence[Upload]:
        return await self._insist.on("list uploads", prefix, lambda _: self._inner.unfinished(prefix))

    async def parts(self, upload: Upload) -> Sequence[ListedPart]:
        return await self._insist.on("list parts", upload.key, lambda _: self._inner.parts(upload))

    async def fetch(self, key: str, into: Slice, *, etag: str | None = None, progress: Progress | None = None) -> int:
        fetch = _Counted(progress).each(lambda told: self._inner.fetch(key, into, etag=etag, progress=told))
        return await self._insist.on("fetch", key, fetch)

    def combine(self, parts: Sequence[tuple[int, int]]) -> int:
        return self._inner.combine(parts)

    def limit_rate(self, bytes_per_second: float | None) -> None:
        self._inner.limit_rate(bytes_per_second)

    async def _same_content(self, key: str, body: Slice) -> SentObject | None:
        """The object, if it has the bytes that the file has now: by its checksum, or where the store keeps none, by an ETag that is
        their MD5. (An ETag need not be one; but one that is equal is no accident.)"""
        facts = await self._facts(key)
        if facts is None or facts.size != body.size:
            return None
        crc, md5 = await asyncio.to_thread(sums_of, body)
        same = facts.crc64nvme == crc if facts.crc64nvme is not None else facts.etag == md5.hex()
        return SentObject(key, body.size, facts.etag, crc) if same else None

    async def _same_parts(self, key: str, parts: Sequence[SentPart]) -> SentObject | None:
        """The object, if it is made of these parts: by its checksum, or by the ETag that S3 composes of theirs."""
        facts = await self._facts(key)
        if facts is None or facts.size != sum(part.size for part in parts):
            return None
        crc = self._inner.combine([(part.crc64nvme, part.size) for part in parts])
        same = facts.crc64nvme == crc if facts.crc64nvme is not None else facts.etag == _composed_etag(parts)
        return SentObject(key, facts.size, facts.etag, crc) if same else None

    async def _facts(self, key: str) -> ObjectFacts | None:
        try:
            return await self._insist.on("head", key, lambda _: self._store.head(key))
        except ObjectMissing:
            return None


class _Counted:
    """Takes back what an attempt reported before the next one reports it again."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._told = 0

    def report(self, size: int) -> None:
        self._told += size
        if self._progress:
            self._progress(size)

    def settle(self, size: int) -> None:
        """Whatever the attempts reported, it is this in all."""
        if size != self._told:
            self.report(size - self._told)

    def each(self, attempt: Callable[[Progress], Awaitable[T]]) -> Callable[[bool], Awaitable[T]]:
        async def counted(_: bool) -> T:
            if self._told:
                self.report(-self._told)
            return await attempt(self.report)

        return counted


def _composed_etag(parts: Sequence[SentPart]) -> str | None:
    try:
        digests = b"".join(bytes.fromhex(part.etag) for part in parts)
    except ValueError:
        return None
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
