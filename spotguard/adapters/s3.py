"""The bucket through boto3: listings and small objects."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from awscrt.checksums import crc64nvme

from spotguard.adapters.s3_access import S3Access
from spotguard.core.checksum import decode_crc64, encode_crc64
from spotguard.ports.object_store import ObjectFacts, ObjectMissing, StoredObject, StoreRejected

class S3ObjectStore:
    def __init__(self, access: S3Access) -> None:
        self._access = access

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> Sequence[StoredObject]:
        found: list[StoredObject] = []
        token: dict[str, str] = {"StartAfter": start_after} if start_after else {}
        subject = self._access.subject("list", prefix)
        while True:
            page = 1000 if limit is None else min(1000, limit - len(found))
            answer = await self._access.call("list_objects_v2", subject, Prefix=prefix, MaxKeys=page, **token)
            for item in answer.get("Contents", ()):
                found.append(StoredObject(item["Key"], item["Size"], item["ETag"].strip('"'), item["LastModified"].timestamp()))
            if not answer.get("IsTruncated") or (limit is not None and len(found) >= limit):
                return found
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    async def head(self, key: str) -> ObjectFacts:
        answer = await self._access.call("head_object", self._access.subject("head", key), Key=key, ChecksumMode="ENABLED")
        checksum = answer.get("ChecksumCRC64NVME")
        return ObjectFacts(
            key, answer["ContentLength"], answer["ETag"].strip('"'), answer["LastModified"].timestamp(),
            decode_crc64(checksum) if checksum else None, dict(answer.get("Metadata", {})),
        )

    async def read(self, key: str, *, max_bytes: int = 64 << 20) -> bytes:
        answer = await self._access.call("get_object", self._access.subject("read", key), Key=key)
        body: bytes = answer["Body"]
        if len(body) > max_bytes:
            raise StoreRejected(f"{key} has {len(body)} bytes, more than the {max_bytes} that are read")
        return body

    async def create(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        return await self._put(key, body, metadata, IfNoneMatch="*")

    async def replace(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        return await self._put(key, body, metadata)

    async def _put(self, key: str, body: bytes, metadata: Mapping[str, str] | None, **condition: str) -> StoredObject:
        answer = await self._access.call(
            "put_object", self._access.subject("write", key), Key=key, Body=body, Metadata=dict(metadata or {}),
            ChecksumCRC64NVME=encode_crc64(crc64nvme(body)), **condition, **self._access.settings.creation_parameters(),
        )
        import time
        return StoredObject(key, len(body), answer["ETag"].strip('"'), time.time() + (self.clock_offset() or 0))

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            try:
                await self._access.call("delete_object", self._access.subject("delete", key), Key=key)
            except ObjectMissing:
                continue

    def clock_offset(self) -> float | None:
        return self._access.clock.offset
