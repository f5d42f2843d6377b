"""Multipart uploads: everything but the parts' bytes. They begin and end by our own requests, because every large file waits for both; the
rest is boto3's."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from spotguard.adapters.crc64 import combine_crc64nvme
from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.errors import STRANGER_FIX, Subject
from spotguard.adapters.s3.store_wire import StoreWire
from spotguard.adapters.s3.wire_failures import from_wire
from spotguard.adapters.wire.aws_chunked import CRC_HEADER
from spotguard.adapters.wire.body import BytesBody
from spotguard.core.checksum import decode_crc64, encode_crc64
from spotguard.ports.object_store import ObjectMissing, StoreRejected, StoreUnavailable, UploadMissing
from spotguard.ports.part_transfer import ListedPart, SentObject, SentPart, Upload

_WHOLE_CHECKSUM = {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "FULL_OBJECT"}


def combine(parts: Sequence[tuple[int, int]]) -> int:
    """The CRC64NVME of consecutive pieces from each one's (CRC64NVME, size)."""
    whole = 0
    for crc, size in parts:
        whole = combine_crc64nvme(whole, crc, size)
    return int(whole)


_COMPLETE_SECONDS = 900.0
PATIENT_SECONDS = 90.0
"""S3 may work for minutes at a Complete, sending white space now and then (S3 API reference, `CompleteMultipartUpload`)."""


class MultipartUploads:
    """One attempt per verb. Learns once whether the store takes full-object CRC64NVME."""

    def __init__(self, access: S3Access, wire: StoreWire, stall_seconds: float, patient_seconds: float) -> None:
        self._access, self._wire = access, wire
        self._begin_seconds = 2 * stall_seconds
        """A connection on which nothing moves ends by itself, and sooner."""
        self._patient_seconds = patient_seconds
        self._checksums = True

    async def begin(self, key: str, metadata: Mapping[str, str]) -> Upload:
        subject = self._access.subject("begin the upload of", key)
        always = self._access.settings.creation_headers(metadata)
        if self._checksums:
            try:
                return await self._begin(key, {**always, **_WHOLE_CHECKSUM}, subject)
            except StoreRejected:
                upload = await self._begin(key, always, subject)  # raises if it was not that
                self._checksums = False
                return upload
        return await self._begin(key, always, subject)

    async def _begin(self, key: str, headers: Mapping[str, str], subject: Subject) -> Upload:
        answer = await self._post(key, "uploads=", headers, b"", subject, "InitiateMultipartUploadResult")
        if not (named := answer.findtext("{*}UploadId")):
            raise StoreUnavailable(f"{subject}: the answer is not S3's (it has no UploadId)", STRANGER_FIX)
        return Upload(key, named)

    async def complete(self, upload: Upload, parts: Sequence[SentPart], *, only_new: bool) -> SentObject:
        subject = self._access.subject("complete the upload of", upload.key)
        size, crc = sum(part.size for part in parts), combine([(part.crc64nvme, part.size) for part in parts])
        headers: dict[str, str] = {}
        if self._checksums:
            headers = {CRC_HEADER: encode_crc64(crc), "x-amz-checksum-type": "FULL_OBJECT", "x-amz-mp-object-size": str(size)}
        if only_new:
            headers["if-none-match"] = "*"
        query = f"uploadId={quote(upload.upload_id, safe='-_.~')}"
        try:
            answer = await self._post(upload.key, query, headers, _listed(parts), subject, "CompleteMultipartUploadResult", patient=True)
        except ObjectMissing as error:
            raise UploadMissing(f"{subject}: the upload is not open any more") from error
        etag = (answer.findtext("{*}ETag") or await self._etag_of(upload.key, size, subject)).strip('"')
        return SentObject(upload.key, size, etag, crc)

    async def _post(
        self,
        key: str,
        query: str,
        headers: Mapping[str, str],
        content: bytes,
        subject: Subject,
        wanted: str,
        *,
        patient: bool = False,
    ) -> ElementTree.Element:
        """The document of a success, whose root has the `wanted` name. S3 may say 200 first and find out then that it fails: raises port
        errors for that too."""
        await self._wire.ready(subject)
        answer = await self._wire.perform(
            "POST",
            self._wire.path(key, query),
            headers,
            subject,
            _COMPLETE_SECONDS if patient else self._begin_seconds,
            beside={"content-length": str(len(content))},
            body=BytesBody(content) if content else None,
            patience_seconds=self._patient_seconds if patient else None,
        )
        if answer.error is not None:
            raise from_wire(answer.error, subject, self._wire.endpoint) from answer.error
        self._access.clock.observe(answer.headers)
        document = None
        with contextlib.suppress(ElementTree.ParseError, ValueError, LookupError):  # the last two: of encodings that are none
            document = ElementTree.fromstring(answer.body.strip())  # white space may come before it, while S3 is at work
        root = "" if document is None else document.tag.rpartition("}")[2]
        if answer.is_refusal or root == "Error":
            raise self._access.refused(answer, subject)
        if document is None or root != wanted:
            raise StoreUnavailable(f"{subject}: the answer is not S3's (it is no {wanted})", STRANGER_FIX)
        return document

    async def _etag_of(self, key: str, size: int, subject: Subject) -> str:
        """Ceph 16 leaves the ETag of a Complete empty."""
        answer = await self._access.call("head_object", self._access.subject("look at", key), {"Key": key}, proof="ETag")
        if answer["ContentLength"] != size:
            raise StoreUnavailable(f"{subject}: the object has {answer['ContentLength']} bytes instead of {size}")
        return str(answer["ETag"])

    async def abort(self, upload: Upload) -> None:
        subject = self._access.subject("abort the upload of", upload.key)
        try:
            await self._access.call("abort_multipart_upload", subject, _named(upload), proof=None)
        except (UploadMissing, ObjectMissing):
            return

    async def unfinished(self, prefix: str) -> Sequence[Upload]:
        found: list[Upload] = []
        following: dict[str, str] = {}
        while True:
            subject = self._access.subject("list the uploads under", prefix)
            answer = await self._access.call("list_multipart_uploads", subject, {"Prefix": prefix, **following}, proof="IsTruncated")
            for entry in answer.get("Uploads", ()):
                if entry["Key"].startswith(prefix):
                    found.append(Upload(entry["Key"], entry["UploadId"], entry["Initiated"].timestamp()))
            if not answer.get("IsTruncated"):
                return found
            following = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}

    async def parts(self, upload: Upload) -> Sequence[ListedPart]:
        subject = self._access.subject("list the parts of", upload.key)
        found: list[ListedPart] = []
        following: dict[str, int] = {}
        while True:
            try:
                answer = await self._access.call("list_parts", subject, {**_named(upload), **following}, proof="IsTruncated")
            except ObjectMissing as error:
                raise UploadMissing(f"{subject}: the upload is not open any more") from error
            found += [_part(entry) for entry in answer.get("Parts", ())]
            if not answer.get("IsTruncated"):
                return found
            following = {"PartNumberMarker": answer["NextPartNumberMarker"]}


def _listed(parts: Sequence[SentPart]) -> bytes:
    """As Complete wants it (S3 API reference, `CompleteMultipartUpload`)."""
    entries = (f'<Part><PartNumber>{part.number}</PartNumber><ETag>"{escape(part.etag, quote=False)}"</ETag></Part>' for part in parts)
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<CompleteMultipartUpload xmlns="{space}">{"".join(entries)}</CompleteMultipartUpload>'.encode()


def _named(upload: Upload) -> dict[str, str]:
    return {"Key": upload.key, "UploadId": upload.upload_id}


def _part(entry: Mapping[str, Any]) -> ListedPart:
    try:
        crc = decode_crc64(entry["ChecksumCRC64NVME"])
    except (KeyError, ValueError):
        crc = None
    modified = entry["LastModified"].timestamp() if "LastModified" in entry else None
    return ListedPart(int(entry["PartNumber"]), int(entry["Size"]), entry["ETag"].strip('"'), crc, modified)
