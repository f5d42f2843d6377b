"""The bucket's listings and small objects, through boto3."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from awscrt.checksums import crc64nvme

from spotguard.adapters.s3_access import S3Access
from spotguard.core.checksum import decode_crc64, encode_crc64
from spotguard.ports.object_store import ObjectFacts, ObjectMissing, StoredObject

_PAGE = 1000


class S3ObjectStore:
    def __init__(self, access: S3Access) -> None:
        self._access = access

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> Sequence[StoredObject]:
        found: list[StoredObject] = []
        subject = self._access.subject("list", prefix)
        start: dict[str, Any] = {"StartAfter": start_after} if start_after else {}
        while True:
            page = _PAGE if limit is None else min(_PAGE, limit - len(found))
            answer = await self._access.call("list_objects_v2", subject, Prefix=prefix, MaxKeys=page, **start)
            found += [_listed(item) for item in answer.get("Contents", ())]
            if not answer.get("IsTruncated") or (limit is not None and len(found) >= limit):
                return found
            start = {"ContinuationToken": answer["NextContinuationToken"]}

    async def head(self, key: str) -> ObjectFacts:
        answer = await self._access.call("head_object", self._access.subject("look at", key), Key=key, ChecksumMode="ENABLED")
        checksum = answer.get("ChecksumCRC64NVME")
        return ObjectFacts(
            key=key,
            size=answer["ContentLength"],
            etag=str(answer["ETag"]).strip('"'),
            modified=answer["LastModified"].timestamp(),
            crc64nvme=decode_crc64(checksum) if checksum else None,
            metadata=dict(answer.get("Metadata", {})),
        )

    async def read(self, key: str, *, max_bytes: int = 64 << 20) -> bytes:
        subject = self._access.subject("read", key)
        body: bytes = (await self._access.call("get_object", subject, max_body=max_bytes, Key=key))["Body"]
        return body

    async def create(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        return await self._put(key, body, metadata, {"IfNoneMatch": "*"})

    async def replace(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        return await self._put(key, body, metadata, {})

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            try:
                await self._access.call("delete_object", self._access.subject("delete", key), Key=key)
            except ObjectMissing:
                continue

    def clock_offset(self) -> float | None:
        return self._access.clock.offset

    async def _put(
        self, key: str, body: bytes, metadata: Mapping[str, str] | None, condition: Mapping[str, str]
    ) -> StoredObject:
        answer = await self._access.call(
            "put_object",
            self._access.subject("write", key),
            Key=key,
            Body=body,
            Metadata=dict(metadata or {}),
            ChecksumCRC64NVME=encode_crc64(crc64nvme(body)),
            **condition,
            **self._access.settings.creation_parameters(),
        )
        return StoredObject(key, len(body), str(answer["ETag"]).strip('"'), time.time() + (self.clock_offset() or 0.0))


def _listed(item: Mapping[str, Any]) -> StoredObject:
    return StoredObject(item["Key"], item["Size"], str(item["ETag"]).strip('"'), item["LastModified"].timestamp())
