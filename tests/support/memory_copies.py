"""The stored-content port over a `MemoryBucket`: copies as S3 makes them, at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from awscrt.checksums import crc64nvme as crc_of

from spotguard.ports.part_transfer import ListedPart, SentObject, SentPart, Slice, Upload
from spotguard.ports.stored_content import CopyUnproven
from tests.support.memory_store import MemoryBucket


class MemoryCopies:
    """`whole_copy_bytes`: None is S3's way, 0 that of a store that is not known to heed conditions on a copy."""

    def __init__(self, bucket: MemoryBucket, *, whole_copy_bytes: int = 128 << 20) -> None:
        self.bucket = bucket
        self.whole_copy_bytes = whole_copy_bytes

    async def copy(self, source: str, key: str, *, size: int, crc64nvme: int, metadata: Mapping[str, str]) -> SentObject:
        await asyncio.sleep(0)
        body = self.bucket.get(source).body
        stored = self.bucket.write("copy", key, body, metadata, only_new=True)
        await asyncio.sleep(0)
        if not self.bucket.keeps_checksums or crc_of(body) != crc64nvme or len(body) != size:
            raise CopyUnproven(f"{key}: the copy is not what was asked for")
        return SentObject(key, size, stored.etag, crc64nvme)

    async def copy_part(self, upload: Upload, number: int, source: str, body: Slice, *, crc64nvme: int) -> SentPart:
        await asyncio.sleep(0)
        self.bucket.upload(upload)
        content = self.bucket.get(source).body[body.offset : body.offset + body.size]
        etag = self.bucket.add_part(upload, number, content, verb="copy_part")
        await asyncio.sleep(0)
        if not self.bucket.keeps_checksums or crc_of(content) != crc64nvme:
            raise CopyUnproven(f"part {number} of {upload.key}: the copy is not what was asked for")
        return SentPart(number, body.size, etag, crc64nvme)

    async def confirm(self, listed: ListedPart, body: Slice) -> SentPart | None:
        await asyncio.sleep(0)
        content = os.pread(body.fd, body.size, body.offset)
        if len(content) != listed.size or listed.crc64nvme != crc_of(content):
            return None
        return SentPart(listed.number, listed.size, listed.etag, listed.crc64nvme)
