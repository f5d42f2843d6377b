"""Faults in front of any store or transfer: answers that get lost, requests that never arrive, denials, delays, hangs.

One `Faults` may stand before both ports of a machine. It says by `fired` which faults happened, so that a test can insist.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from spotguard.ports.object_store import ConcurrentWrite, ObjectFacts, ObjectStore, StoreDenied, StoredObject, StoreUnavailable
from spotguard.ports.part_transfer import ListedPart, PartTransfer, Progress, SentObject, SentPart, Slice, Upload
from spotguard.ports.stored_content import StoredContent

T = TypeVar("T")

WRITES = frozenset({"create", "replace", "delete", "put", "begin", "send_part", "complete", "abort", "copy", "copy_part"})


class Fault(StrEnum):
    NONE = "none"
    LOST_ANSWER = "lost-answer"
    """Done, then StoreUnavailable."""
    UNAVAILABLE = "unavailable"
    """Not done, StoreUnavailable."""
    CONFLICT = "conflict"
    """Not done, ConcurrentWrite (409): only for `create`, `put`, `copy` and `complete`."""
    DENIED = "denied"
    """Not done, StoreDenied."""
    HANG = "hang"
    """Not done, never answers: until it is cancelled or `released`."""
    HANG_AFTER = "hang-after"
    """Done, never answers."""


class Faults:
    """Knobs, all changeable while it runs.

    `rates`: probability per fault, drawn from the seeded `rng` for each request. `script`: faults for the next requests of a
    verb (`plan`), which go before the rates. `down`/`denied`: every request fails so. `latency_seconds`: before each request.
    `verbs`: only these are touched by the rates (None: all). `fired`: how often each fault happened; `calls`: requests by verb.
    """

    def __init__(self, rng: random.Random | None = None, rates: Mapping[Fault, float] | None = None) -> None:
        self.rng = rng or random.Random(0)
        self.rates: dict[Fault, float] = dict(rates or {})
        self.verbs: frozenset[str] | None = None
        self.down = False
        self.denied = False
        self.latency_seconds = 0.0
        self.fired: Counter[Fault] = Counter()
        self.calls: Counter[str] = Counter()
        self.released = asyncio.Event()
        self._script: dict[str, list[Fault]] = {}

    def plan(self, verb: str, *faults: Fault) -> None:
        """The next requests of `verb` meet these, in order; NONE lets one through."""
        self._script.setdefault(verb, []).extend(faults)

    async def around(self, verb: str, request: Callable[[], Awaitable[T]]) -> T:
        self.calls[verb] += 1
        fault = self._draw(verb)
        if fault is not Fault.NONE:
            self.fired[fault] += 1
        if self.latency_seconds:
            await asyncio.sleep(self.latency_seconds)
        if fault is Fault.HANG:
            await self.released.wait()
            fault = Fault.UNAVAILABLE
        if fault is Fault.DENIED:
            raise StoreDenied(f"{verb}: access denied (injected)")
        if fault is Fault.UNAVAILABLE:
            raise StoreUnavailable(f"{verb}: no answer (injected)")
        if fault is Fault.CONFLICT:
            raise ConcurrentWrite(f"{verb}: conflict (injected)")
        answer = await request()
        if fault is Fault.HANG_AFTER:
            await self.released.wait()
        if fault in (Fault.LOST_ANSWER, Fault.HANG_AFTER):
            raise StoreUnavailable(f"{verb}: the answer got lost (injected)")
        return answer

    def _draw(self, verb: str) -> Fault:
        if self.denied:
            return Fault.DENIED
        if self.down:
            return Fault.UNAVAILABLE
        if self._script.get(verb):
            return self._script[verb].pop(0)
        if self.verbs is not None and verb not in self.verbs:
            return Fault.NONE
        dice = self.rng.random()
        for fault, rate in self.rates.items():
            if dice < rate and (fault is not Fault.CONFLICT or verb in ("create", "put", "copy", "complete")):
                return fault
            dice -= rate
        return Fault.NONE


class FaultyStore:
    """An object store behind `faults`."""

    def __init__(self, inner: ObjectStore, faults: Faults) -> None:
        self.inner = inner
        self.faults = faults

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> Sequence[StoredObject]:
        return await self.faults.around("list", lambda: self.inner.list(prefix, start_after=start_after, limit=limit))

    async def head(self, key: str) -> ObjectFacts:
        return await self.faults.around("head", lambda: self.inner.head(key))

    async def read(self, key: str, *, max_bytes: int = 64 << 20) -> bytes:
        return await self.faults.around("read", lambda: self.inner.read(key, max_bytes=max_bytes))

    async def create(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        return await self.faults.around("create", lambda: self.inner.create(key, body, metadata=metadata))

    async def replace(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        return await self.faults.around("replace", lambda: self.inner.replace(key, body, metadata=metadata))

    async def delete(self, keys: Sequence[str]) -> None:
        await self.faults.around("delete", lambda: self.inner.delete(keys))

    def clock_offset(self) -> float | None:
        return self.inner.clock_offset()


class FaultyTransfer:
    """A part transfer behind `faults`."""

    def __init__(self, inner: PartTransfer, faults: Faults) -> None:
        self.inner = inner
        self.faults = faults

    async def put(
        self, key: str, body: Slice, *, only_new: bool, metadata: Mapping[str, str], progress: Progress | None = None
    ) -> SentObject:
        return await self.faults.around("put", lambda: self.inner.put(key, body, only_new=only_new, metadata=metadata, progress=progress))

    async def begin(self, key: str, *, metadata: Mapping[str, str]) -> Upload:
        return await self.faults.around("begin", lambda: self.inner.begin(key, metadata=metadata))

    async def send_part(self, upload: Upload, number: int, body: Slice, *, progress: Progress | None = None) -> SentPart:
        return await self.faults.around("send_part", lambda: self.inner.send_part(upload, number, body, progress=progress))

    async def complete(self, upload: Upload, parts: Sequence[SentPart], *, only_new: bool) -> SentObject:
        return await self.faults.around("complete", lambda: self.inner.complete(upload, parts, only_new=only_new))

    async def abort(self, upload: Upload) -> None:
        await self.faults.around("abort", lambda: self.inner.abort(upload))

    async def unfinished(self, prefix: str) -> Sequence[Upload]:
        return await self.faults.around("unfinished", lambda: self.inner.unfinished(prefix))

    async def parts(self, upload: Upload) -> Sequence[ListedPart]:
        return await self.faults.around("parts", lambda: self.inner.parts(upload))

    async def fetch(self, key: str, into: Slice, *, etag: str | None = None, progress: Progress | None = None) -> int:
        return await self.faults.around("fetch", lambda: self.inner.fetch(key, into, etag=etag, progress=progress))

    def combine(self, parts: Sequence[tuple[int, int]]) -> int:
        return self.inner.combine(parts)

    def limit_rate(self, bytes_per_second: float | None) -> None:
        self.inner.limit_rate(bytes_per_second)


class FaultyCopies:
    """The stored content behind `faults`."""

    def __init__(self, inner: StoredContent, faults: Faults) -> None:
        self.inner = inner
        self.faults = faults

    @property
    def whole_copy_bytes(self) -> int:
        return self.inner.whole_copy_bytes

    async def copy(self, source: str, key: str, *, size: int, crc64nvme: int, metadata: Mapping[str, str]) -> SentObject:
        return await self.faults.around("copy", lambda: self.inner.copy(source, key, size=size, crc64nvme=crc64nvme, metadata=metadata))

    async def copy_part(self, upload: Upload, number: int, source: str, body: Slice, *, crc64nvme: int) -> SentPart:
        return await self.faults.around("copy_part", lambda: self.inner.copy_part(upload, number, source, body, crc64nvme=crc64nvme))

    async def confirm(self, listed: ListedPart, body: Slice) -> SentPart | None:
        return await self.inner.confirm(listed, body)
