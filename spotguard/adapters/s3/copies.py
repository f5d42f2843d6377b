"""The stored-content port: copies inside S3 by boto3, and proofs that a part has the local bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.etag import unquoted
from spotguard.adapters.wire.slice_sums import crc_of, sums_of
from spotguard.core.checksum import decode_crc64, encode_crc64
from spotguard.ports.part_transfer import ListedPart, SentObject, SentPart, Slice, Upload
from spotguard.ports.stored_content import CopyUnproven

_WHOLE_COPY_BYTES = 128 << 20
"""S3 takes 5 GiB in one request, but copies parts at the same time, and a part that can not be copied is sent alone."""


class S3Copies:
    """One attempt per verb; retries are `RetryingCopies`'.

    Of the stores tried only S3 itself is documented to heed `If-None-Match` on CopyObject: moto 5, LocalStack 4.9 and Ceph 16 overwrite.
    So elsewhere copies are made of parts, whose Complete is refused where the key is taken (as for every upload: not by Ceph 16)."""

    def __init__(self, access: S3Access) -> None:
        self._access = access

    @property
    def whole_copy_bytes(self) -> int:
        return 0 if self._access.custom_endpoint else _WHOLE_COPY_BYTES

    async def copy(self, source: str, key: str, *, size: int, crc64nvme: int, metadata: Mapping[str, str]) -> SentObject:
        subject = self._access.subject("copy to", key)
        parameters: dict[str, Any] = {
            "Key": key,
            "CopySource": self._source(source),
            "MetadataDirective": "REPLACE",
            "Metadata": dict(metadata),
            "TaggingDirective": "REPLACE",  # with none: reading the source's needs a permission of its own
            "ChecksumAlgorithm": "CRC64NVME",
            "IfNoneMatch": "*",
            **self._access.settings.creation_parameters(),
        }
        answer = await self._access.call("copy_object", subject, parameters, proof="CopyObjectResult")
        result = answer["CopyObjectResult"]
        etag, told = unquoted(result.get("ETag"), subject), _sum(result)
        if told is None:
            facts = await self._access.call("head_object", subject, {"Key": key, "ChecksumMode": "ENABLED"}, proof="ETag")
            etag, told = unquoted(facts.get("ETag"), subject), _sum(facts)
            if int(facts["ContentLength"]) != size:
                raise CopyUnproven(f"{subject}: the copy has {facts['ContentLength']} bytes instead of {size}")
        if told != crc64nvme:
            said = "nothing" if told is None else encode_crc64(told)
            raise CopyUnproven(f"{subject}: the store says {said} of its checksum, the file has {encode_crc64(crc64nvme)}")
        return SentObject(key, size, etag, crc64nvme)

    async def copy_part(self, upload: Upload, number: int, source: str, body: Slice, *, crc64nvme: int) -> SentPart:
        subject = self._access.subject(f"copy part {number} of", upload.key)
        parameters = {
            "Key": upload.key,
            "UploadId": upload.upload_id,
            "PartNumber": number,
            "CopySource": self._source(source),
            "CopySourceRange": f"bytes={body.offset}-{body.offset + body.size - 1}",
        }
        answer = await self._access.call("upload_part_copy", subject, parameters, proof="CopyPartResult")
        result = answer["CopyPartResult"]
        etag, told = unquoted(result.get("ETag"), subject), _sum(result)
        if told is None and etag != await _md5(body):
            raise CopyUnproven(f"{subject}: the store tells no checksum of it, and its ETag {etag} is not the MD5 of the file's bytes")
        if told is not None and told != crc64nvme:
            raise CopyUnproven(f"{subject}: the store says {encode_crc64(told)} of its checksum, the file has {encode_crc64(crc64nvme)}")
        return SentPart(number, body.size, etag, crc64nvme)

    async def confirm(self, listed: ListedPart, body: Slice) -> SentPart | None:
        if listed.size != body.size:
            return None
        if listed.crc64nvme is not None:
            crc = await asyncio.to_thread(crc_of, body)
            return SentPart(listed.number, listed.size, listed.etag, crc) if crc == listed.crc64nvme else None
        if len(listed.etag) != 32:
            return None  # no MD5, so nothing to compare with
        sums = await asyncio.to_thread(sums_of, body)
        return SentPart(listed.number, listed.size, listed.etag, sums.crc64nvme) if sums.md5.hex() == listed.etag else None

    def _source(self, key: str) -> dict[str, str]:
        return {"Bucket": self._access.settings.bucket, "Key": key}


def _sum(result: Mapping[str, Any]) -> int | None:
    try:
        return decode_crc64(result["ChecksumCRC64NVME"])
    except (KeyError, ValueError):
        return None


async def _md5(body: Slice) -> str:
    return (await asyncio.to_thread(sums_of, body)).md5.hex()
