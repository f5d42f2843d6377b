"""A bucket in memory: the object-store and part-transfer ports as S3 behaves, for tests under real or virtual time.

`MemoryBucket` is the state and may be shared by several machines, each with its own `MemoryStore` and `MemoryTransfer`. Nothing
here waits but the `Link`. Faults are added by the decorators of `tests.support.faulty_store`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from awscrt.checksums import combine_crc64nvme, crc64nvme

from spotguard.ports.bulk_fetch import Wanted
from spotguard.ports.clock import Clock
from spotguard.ports.object_store import (
    ChecksumRefused,
    ObjectExists,
    ObjectFacts,
    ObjectMissing,
    StoredObject,
    StoreRejected,
    StoreUnavailable,
    UploadMissing,
)
from spotguard.ports.part_transfer import FileShrank, ListedPart, Progress, SentObject, SentPart, Slice, Upload

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class MemoryObject:
    key: str
    body: bytes
    etag: str
    modified: float
    metadata: Mapping[str, str]

    @property
    def listed(self) -> StoredObject:
        return StoredObject(self.key, len(self.body), self.etag, self.modified)


@dataclass(slots=True)
class MemoryUpload:
    key: str
    upload_id: str
    initiated: float
    metadata: Mapping[str, str]
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    """By number: ETag and bytes."""
    modified: dict[int, float] = field(default_factory=dict)
    """By number: when the part came."""


class MemoryBucket:
    """The state of one bucket; every method is one atomic request that arrived.

    `min_part_bytes`: what S3 wants of every part but the last (0 disables). `conditional_writes=False` ignores `If-None-Match`.
    `keeps_checksums=False` is a store that forgets CRC64NVME. `clock` is the store's own clock. `log` has every request that
    changed something, in order, as `(verb, key)`.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        min_part_bytes: int = 5 << 20,
        conditional_writes: bool = True,
        keeps_checksums: bool = True,
    ) -> None:
        self.clock = clock
        self.min_part_bytes = min_part_bytes
        self.conditional_writes = conditional_writes
        self.keeps_checksums = keeps_checksums
        self.objects: dict[str, MemoryObject] = {}
        self.uploads: dict[str, MemoryUpload] = {}
        self.log: list[tuple[str, str]] = []
        self._serial = itertools.count(1)

    def now(self) -> float:
        return (self.clock.wall() if self.clock else datetime.now(UTC)).timestamp()

    def write(self, verb: str, key: str, body: bytes, metadata: Mapping[str, str] | None, *, only_new: bool) -> MemoryObject:
        self.refuse_taken(key, only_new=only_new)
        stored = MemoryObject(key, body, self._etag(), self.now(), dict(metadata or {}))
        self.objects[key] = stored
        self.log.append((verb, key))
        return stored

    def refuse_taken(self, key: str, *, only_new: bool) -> None:
        if only_new and self.conditional_writes and key in self.objects:
            raise ObjectExists(f"{key} is there already")

    def get(self, key: str) -> MemoryObject:
        if key not in self.objects:
            raise ObjectMissing(f"there is no object {key}")
        return self.objects[key]

    def remove(self, key: str) -> None:
        if self.objects.pop(key, None):
            self.log.append(("delete", key))

    def open_upload(self, key: str, metadata: Mapping[str, str]) -> MemoryUpload:
        upload = MemoryUpload(key, f"upload-{next(self._serial)}", self.now(), dict(metadata))
        self.uploads[upload.upload_id] = upload
        self.log.append(("begin", key))
        return upload

    def upload(self, upload: Upload) -> MemoryUpload:
        found = self.uploads.get(upload.upload_id)
        if found is None or found.key != upload.key:
            raise UploadMissing(f"the upload {upload.upload_id} of {upload.key} is not open")
        return found

    def add_part(self, upload: Upload, number: int, body: bytes, *, verb: str = "send_part") -> str:
        if not 1 <= number <= 10_000:
            raise StoreRejected(f"part {number} of {upload.key}: numbers go from 1 to 10,000")
        etag = self._etag()
        state = self.upload(upload)
        state.parts[number], state.modified[number] = (etag, body), self.now()
        self.log.append((verb, upload.key))
        return etag

    def finish_upload(self, upload: Upload, parts: Sequence[SentPart], crc: int, *, only_new: bool) -> MemoryObject:
        """Complete: all of S3's checks, then the object; the upload is gone after success and stays after a refusal."""
        state = self.upload(upload)
        if [part.number for part in parts] != list(range(1, len(parts) + 1)):
            raise StoreRejected(f"{upload.key}: parts are not consecutive from 1")
        if not parts or any(state.parts.get(part.number, ("", b""))[0] != part.etag for part in parts):
            raise StoreRejected(f"{upload.key}: a part is missing or is another one (InvalidPart)")
        bodies = [state.parts[part.number][1] for part in parts]
        if any(len(body) < self.min_part_bytes for body in bodies[:-1]):
            raise StoreRejected(f"{upload.key}: a part is too small (EntityTooSmall)")
        self.refuse_taken(upload.key, only_new=only_new)
        body = b"".join(bodies)
        if crc64nvme(body) != crc:
            raise ChecksumRefused(f"{upload.key}: the checksum of the whole is another one")
        stored = self.write("complete", upload.key, body, state.metadata, only_new=only_new)
        del self.uploads[upload.upload_id]
        return stored

    def _etag(self) -> str:
        return f"{next(self._serial):032x}"


class Link:
    """A shared network link. `bytes_per_second` is its width, `cap` what `limit_rate` asked for; None is unlimited.

    All transfers on it share it first come, first served, in pieces of 1 MiB; a change of either takes effect at once.
    """

    def __init__(self, bytes_per_second: float | None = None) -> None:
        self._width = bytes_per_second
        self._cap: float | None = None
        self._free_at = 0.0
        self._changed: asyncio.Event | None = None
        self.carried_bytes = 0

    @property
    def bytes_per_second(self) -> float | None:
        return self._width

    @bytes_per_second.setter
    def bytes_per_second(self, width: float | None) -> None:
        self._width = width
        self._wake()

    @property
    def cap(self) -> float | None:
        return self._cap

    def set_cap(self, cap: float | None) -> None:
        self._cap = cap
        self._wake()

    async def carry(self, size: int) -> None:
        """Wait as long as `size` bytes take."""
        self.carried_bytes += size
        loop = asyncio.get_running_loop()
        while rate := min((r for r in (self._width, self._cap) if r is not None), default=None):
            done_at = max(self._free_at, loop.time()) + size / rate
            self._free_at = done_at
            self._changed = self._changed or asyncio.Event()
            changed = self._changed
            try:
                async with asyncio.timeout_at(done_at):
                    await changed.wait()
            except TimeoutError:
                return
        await asyncio.sleep(0)

    def _wake(self) -> None:
        self._free_at = 0.0
        if self._changed:
            self._changed.set()
            self._changed = None


class MemoryStore:
    """The object-store port over a `MemoryBucket`. `local_clock`: the machine's clock, for `clock_offset`."""

    def __init__(self, bucket: MemoryBucket, local_clock: Clock | None = None) -> None:
        self.bucket = bucket
        self._local_clock = local_clock
        self._offset: float | None = None

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> Sequence[StoredObject]:
        await self._travel()
        keys = sorted((key for key in self.bucket.objects if key.startswith(prefix)), key=str.encode)
        found = [self.bucket.objects[key].listed for key in keys if key.encode() > start_after.encode()][:limit]
        await self._travel()
        return found

    async def head(self, key: str) -> ObjectFacts:
        await self._travel()
        found = self.bucket.get(key)
        crc = crc64nvme(found.body) if self.bucket.keeps_checksums else None
        await self._travel()
        return ObjectFacts(key, len(found.body), found.etag, found.modified, crc, found.metadata)

    async def read(self, key: str, *, max_bytes: int = 64 << 20) -> bytes:
        await self._travel()
        found = self.bucket.get(key)
        if len(found.body) > max_bytes:
            raise StoreRejected(f"{key} has {len(found.body)} bytes, more than the {max_bytes} allowed")
        await self._travel()
        return found.body

    async def create(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        await self._travel()
        stored = self.bucket.write("create", key, body, metadata, only_new=True)
        await self._travel()
        return stored.listed

    async def replace(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        await self._travel()
        stored = self.bucket.write("replace", key, body, metadata, only_new=False)
        await self._travel()
        return stored.listed

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            await self._travel()
            self.bucket.remove(key)
        await self._travel()

    def clock_offset(self) -> float | None:
        return self._offset

    async def _travel(self) -> None:
        """A request or its answer under way: a cancellation lands before or after it, never in its middle."""
        await asyncio.sleep(0)
        if self._local_clock:
            self._offset = self.bucket.now() - self._local_clock.wall().timestamp()
        else:
            self._offset = 0.0


class MemoryTransfer:
    """The part-transfer port over a `MemoryBucket`; bytes are read from the file as the link carries them."""

    def __init__(self, bucket: MemoryBucket, link: Link | None = None) -> None:
        self.bucket = bucket
        self.link = link or Link()

    async def put(
        self, key: str, body: Slice, *, only_new: bool, metadata: Mapping[str, str], progress: Progress | None = None
    ) -> SentObject:
        content = await self._send(body, progress)
        stored = self.bucket.write("put", key, content, metadata, only_new=only_new)
        await asyncio.sleep(0)
        return SentObject(key, len(content), stored.etag, crc64nvme(content))

    async def begin(self, key: str, *, metadata: Mapping[str, str]) -> Upload:
        await asyncio.sleep(0)
        opened = self.bucket.open_upload(key, metadata)
        await asyncio.sleep(0)
        return Upload(key, opened.upload_id)

    async def send_part(self, upload: Upload, number: int, body: Slice, *, progress: Progress | None = None) -> SentPart:
        content = await self._send(body, progress)
        etag = self.bucket.add_part(upload, number, content)
        await asyncio.sleep(0)
        return SentPart(number, len(content), etag, crc64nvme(content))

    async def complete(self, upload: Upload, parts: Sequence[SentPart], *, only_new: bool) -> SentObject:
        await asyncio.sleep(0)
        crc = self.combine([(part.crc64nvme, part.size) for part in parts])
        stored = self.bucket.finish_upload(upload, parts, crc, only_new=only_new)
        await asyncio.sleep(0)
        return SentObject(upload.key, len(stored.body), stored.etag, crc)

    async def abort(self, upload: Upload) -> None:
        await asyncio.sleep(0)
        if self.bucket.uploads.pop(upload.upload_id, None):
            self.bucket.log.append(("abort", upload.key))
        await asyncio.sleep(0)

    async def unfinished(self, prefix: str) -> Sequence[Upload]:
        await asyncio.sleep(0)
        found = [u for u in self.bucket.uploads.values() if u.key.startswith(prefix)]
        return [Upload(u.key, u.upload_id, u.initiated) for u in sorted(found, key=lambda u: (u.key.encode(), u.initiated))]

    async def parts(self, upload: Upload) -> Sequence[ListedPart]:
        await asyncio.sleep(0)
        keeps = self.bucket.keeps_checksums
        state = self.bucket.upload(upload)
        listed = sorted(state.parts.items())
        return [ListedPart(n, len(body), etag, crc64nvme(body) if keeps else None, state.modified[n]) for n, (etag, body) in listed]

    async def fetch(self, key: str, into: Slice, *, etag: str | None = None, progress: Progress | None = None) -> int:
        await asyncio.sleep(0)
        found = self.bucket.get(key)
        if etag is not None and etag != found.etag:
            raise StoreRejected(f"{key} is not the object it was (its ETag changed)")
        if into.size and into.offset >= len(found.body):
            raise StoreRejected(f"{key} has {len(found.body)} bytes: there is nothing at {into.offset}")
        content = found.body[into.offset : into.offset + into.size]
        for at in range(0, len(content), _CHUNK):
            piece = content[at : at + _CHUNK]
            await self.link.carry(len(piece))
            os.pwrite(into.fd, piece, into.offset + at)
            if progress:
                progress(len(piece))
        if len(content) < into.size:
            raise StoreUnavailable(f"{key}: the body ended after {len(content)} of {into.size} bytes")
        return int(crc64nvme(content))

    def combine(self, parts: Sequence[tuple[int, int]]) -> int:
        whole = 0
        for crc, size in parts:
            whole = combine_crc64nvme(whole, crc, size)
        return int(whole)

    def limit_rate(self, bytes_per_second: float | None) -> None:
        self.link.set_cap(bytes_per_second)

    async def _send(self, body: Slice, progress: Progress | None) -> bytes:
        """The bytes of the slice, read as they leave."""
        await asyncio.sleep(0)
        content = bytearray()
        while len(content) < body.size:
            piece = os.pread(body.fd, min(_CHUNK, body.size - len(content)), body.offset + len(content))
            if not piece:
                raise FileShrank(f"the file ended at {body.offset + len(content)}, before {body.offset + body.size}")
            await self.link.carry(len(piece))
            content += piece
            if progress:
                progress(len(piece))
        return bytes(content)


class MemoryBulk:
    """The bulk-fetch port over a `MemoryBucket`. `spoilt`: keys whose bytes it delivers wrong."""

    def __init__(self, bucket: MemoryBucket, spoilt: Collection[str] = ()) -> None:
        self.bucket = bucket
        self.spoilt = spoilt
        self.asked: list[str] = []

    async def fetch_all(self, wanted: Sequence[Wanted]) -> Sequence[int | None]:
        sums: list[int | None] = []
        for key, into in wanted:
            self.asked.append(key)
            await asyncio.sleep(0)
            found = self.bucket.objects.get(key)
            if found is None or len(found.body) != into.size:
                sums.append(None)
                continue
            body = bytes(into.size) if key in self.spoilt else found.body
            os.pwrite(into.fd, body, into.offset)
            sums.append(int(crc64nvme(body)))
        return sums
