"""The object-store port over boto3: whole small objects, listings, deletions."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from spotguard.adapters.crc64 import crc64nvme
from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.etag import unquoted
from spotguard.core.checksum import decode_crc64, encode_crc64
from spotguard.ports.object_store import (
    ObjectFacts,
    ObjectMissing,
    StoreDenied,
    StoredObject,
    StoreError,
    StoreRejected,
    StoreUnavailable,
)

_PAGE = 1000


class S3ObjectStore:
    """One attempt per verb; retries are `RetryingStore`'s."""

    def __init__(self, access: S3Access) -> None:
        self._access = access
        self._bucket_seen = False
        self._bulk_deletes = True

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> Sequence[StoredObject]:
        found: list[StoredObject] = []
        following: dict[str, Any] = {"StartAfter": start_after} if start_after else {}
        while limit is None or len(found) < limit:
            page = _PAGE if limit is None else min(_PAGE, limit - len(found))
            wanted = {"Prefix": prefix, "MaxKeys": page, **following}
            answer = await self._access.call("list_objects_v2", self._access.subject("list", prefix), wanted, proof="IsTruncated")
            self._bucket_seen = True
            found += [_listed(entry) for entry in answer.get("Contents", ())]
            if not answer.get("IsTruncated"):
                break
            if not (token := answer.get("NextContinuationToken")):
                raise StoreUnavailable(f"{self._access.subject('list', prefix)}: the listing broke off")
            following = {"ContinuationToken": token}
        return found

    async def head(self, key: str) -> ObjectFacts:
        subject = self._access.subject("look at", key)
        try:
            answer = await self._access.call("head_object", subject, {"Key": key, "ChecksumMode": "ENABLED"}, proof="ETag")
        except ObjectMissing:
            await self._insist_on_bucket()
            raise
        except StoreDenied as error:
            await self._raise_if_missing(key, error)
            raise
        self._bucket_seen = True
        etag = unquoted(answer["ETag"], subject)
        if "ContentLength" not in answer or "LastModified" not in answer:
            raise StoreUnavailable(f"{subject}: the answer broke off")
        return ObjectFacts(
            key,
            int(answer["ContentLength"]),
            etag,
            _seconds(answer["LastModified"]),
            _checksum(answer),
            dict(answer.get("Metadata", {})),
        )

    async def read(self, key: str, *, max_bytes: int = 64 << 20) -> bytes:
        subject = self._access.subject("read", key)
        try:
            answer = await self._access.call("get_object", subject, {"Key": key}, proof="ETag", max_body=max_bytes)
        except StoreDenied as error:
            await self._raise_if_missing(key, error)
            raise
        self._bucket_seen = True
        return bytes(answer["Body"])

    async def create(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        return await self._put(key, body, metadata, IfNoneMatch="*")

    async def replace(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> StoredObject:
        return await self._put(key, body, metadata)

    async def delete(self, keys: Sequence[str]) -> None:
        for at in range(0, len(keys), _PAGE):
            chunk = keys[at : at + _PAGE]
            if not (self._bulk_deletes and len(chunk) > 1 and all(map(_fits_xml, chunk)) and await self._delete_in_bulk(chunk)):
                for key in chunk:
                    await self._access.call("delete_object", self._access.subject("delete", key), {"Key": key}, proof=None)

    def clock_offset(self) -> float | None:
        return self._access.clock.offset

    async def _put(self, key: str, body: bytes, metadata: Mapping[str, str] | None, **condition: str) -> StoredObject:
        parameters: dict[str, Any] = {
            "Key": key,
            "Body": body,
            "Metadata": dict(metadata or {}),
            "ChecksumAlgorithm": "CRC64NVME",
            "ChecksumCRC64NVME": encode_crc64(crc64nvme(body)),
            **condition,
            **self._access.settings.creation_parameters(),
        }
        subject = self._access.subject("write", key)
        answer = await self._access.call("put_object", subject, parameters, proof="ETag")
        self._bucket_seen = True
        modified = self._access.clock.store_now()
        return StoredObject(key, len(body), unquoted(answer["ETag"], subject), modified)

    async def _delete_in_bulk(self, keys: Sequence[str]) -> bool:
        """False where the store does not know how; then and later they go one by one."""
        subject = self._access.subject("delete", keys[0])
        wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        try:
            answer = await self._access.call("delete_objects", subject, {"Delete": wanted}, proof=None)
        except StoreRejected:
            self._bulk_deletes = False
            return False
        for failed in answer.get("Errors", ()):
            kind: type[StoreError] = StoreDenied if failed.get("Code") == "AccessDenied" else StoreUnavailable
            named = self._access.subject("delete", failed.get("Key", ""))
            raise kind(f"{named}: {failed.get('Code')}: {failed.get('Message')}", "allow s3:DeleteObject")
        return True

    async def _raise_if_missing(self, key: str, denial: StoreDenied) -> None:
        """Ceph before 2026 says 403 for what is merely missing wherever a policy binds listing to a prefix (S3 takes the key for the
        prefix there, and says 404). A listing that we may do proves it: ObjectMissing. Raises nothing where it proves nothing."""
        with contextlib.suppress(StoreDenied, StoreUnavailable):
            if all(found.key != key for found in await self.list(key, limit=1)):
                raise ObjectMissing(f"{self._access.subject('read', key)}: it is not there") from denial

    async def _insist_on_bucket(self) -> None:
        """Raise BucketMissing if it is the bucket that is missing: a HEAD's 404 says nothing about which."""
        if self._bucket_seen:
            return
        with contextlib.suppress(StoreDenied):  # it exists; whether we may look at it as a whole does not matter here
            await self._access.check_bucket()
        self._bucket_seen = True


def _listed(entry: Mapping[str, Any]) -> StoredObject:
    return StoredObject(entry["Key"], int(entry["Size"]), entry["ETag"].strip('"'), _seconds(entry["LastModified"]))


def _seconds(moment: datetime) -> float:
    return moment.timestamp()


def _checksum(answer: Mapping[str, Any]) -> int | None:
    """The full-object checksum; a composite one (`…-3`) says nothing about the whole."""
    try:
        return decode_crc64(answer["ChecksumCRC64NVME"])
    except (KeyError, ValueError):
        return None


def _fits_xml(key: str) -> bool:
    """Whether a key can stand in the body of DeleteObjects: XML 1.0 has no control characters."""
    return all(character >= " " and character not in "\ufffe\uffff" for character in key)
