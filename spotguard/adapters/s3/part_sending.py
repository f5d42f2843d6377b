"""Sends one body: with a CRC64NVME trailer where the store takes it, with Content-MD5 where it does not."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.errors import STRANGER_FIX, TRAILER_REFUSED, Subject, refusal_of
from spotguard.adapters.s3.etag import unquoted
from spotguard.adapters.s3.patience import Patience
from spotguard.adapters.s3.store_wire import StoreWire
from spotguard.adapters.s3.upload_cap import UploadCap
from spotguard.adapters.s3.wire_failures import from_wire
from spotguard.adapters.wire.aws_chunked import CRC_HEADER
from spotguard.adapters.wire.body import FileBody
from spotguard.adapters.wire.exchange import Answer
from spotguard.adapters.wire.slice_sums import sums_of
from spotguard.core.checksum import encode_crc64
from spotguard.ports.object_store import ChecksumRefused, StoreError, StoreUnavailable
from spotguard.ports.part_transfer import Slice

_CAPPED_SLACK = 2.0
"""A capped body may take this many times its time at the cap, beyond what the link needs."""


class Target(NamedTuple):
    """Which request; `query` without its question mark."""

    key: str
    subject: Subject
    headers: Mapping[str, str]
    query: str = ""


class Sent(NamedTuple):
    etag: str
    crc64nvme: int


class BodySender:
    """Learns at the first refusal that a custom store does not take trailers (Ceph 16, rclone), and remembers it.

    Then the MD5 is computed before, which reads the slice twice, and the store checks that. AWS always takes trailers."""

    def __init__(self, access: S3Access, wire: StoreWire, stall_seconds: float) -> None:
        self._access, self._wire = access, wire
        self._patience = Patience(stall_seconds)
        self._trailers = True
        self._trailers_proven = False
        self.cap = UploadCap(wire.pacing)

    async def send(self, target: Target, body: Slice) -> Sent:
        """Raises port errors, FileShrank, OSError of reading the file."""
        with_trailer = self._trailers and body.size > 0
        answer, source = await self._attempt(target, body, with_trailer=with_trailer)
        if with_trailer and self._wire.custom_endpoint and _trailer_refused(answer):
            self._trailers = False
            answer, source = await self._attempt(target, body, with_trailer=False)
        self._raise_failure(answer, source, target.subject)
        told = answer.headers.get(CRC_HEADER)
        if told is not None and told != encode_crc64(source.crc64nvme):
            raise ChecksumRefused(f"{target.subject}: the store has the checksum {told}, sent was {encode_crc64(source.crc64nvme)}")
        if told is None and with_trailer:
            await self.prove_trailers(target, body.size)
        return Sent(unquoted(answer.headers.get("etag"), target.subject), source.crc64nvme)

    def limit_seconds(self, size: int) -> float:
        """How long bodies of so many bytes may take."""
        return self._patience.seconds(size) + _CAPPED_SLACK * self.cap.seconds(size)

    async def _attempt(self, target: Target, body: Slice, *, with_trailer: bool) -> tuple[Answer, FileBody]:
        await self._wire.ready(target.subject)
        source = FileBody(body, framed=with_trailer)
        if not body.size:
            target = target._replace(headers={**target.headers, CRC_HEADER: encode_crc64(0)})  # S3 wants all of its own headers signed
        beside = {"content-length": str(source.content_length)}
        if body.size and not with_trailer:
            beside["content-md5"] = base64.b64encode((await asyncio.to_thread(sums_of, body)).md5).decode()
        ticket = await self.cap.admit(body.size)
        try:
            return await self._timed(target, beside, source, with_trailer=with_trailer), source
        finally:
            self.cap.give_back(body.size - source.given, ticket)

    async def _timed(self, target: Target, beside: Mapping[str, str], source: FileBody, *, with_trailer: bool) -> Answer:
        began, capped = asyncio.get_running_loop().time(), self.cap.holds
        patience, limit = self._patience.seconds(source.size), self.limit_seconds(source.size)
        path = self._wire.path(target.key, target.query)
        try:
            answer = await self._wire.perform(
                "PUT", path, target.headers, target.subject, limit, beside=beside, body=source, trailer=with_trailer
            )
        except StoreUnavailable:
            self._patience.gave_up(source.size, patience)
            raise
        if answer.error is None and not answer.is_refusal and not capped:  # what the cap allows tells nothing of the link
            self._patience.succeeded(source.size, asyncio.get_running_loop().time() - began)
        return answer

    def _raise_failure(self, answer: Answer, source: FileBody, subject: Subject) -> None:
        if source.failure is not None:
            raise source.failure
        if answer.error is not None:
            raise from_wire(answer.error, subject, self._wire.endpoint) from answer.error
        if answer.is_refusal:
            raise self._access.refused(answer, subject)
        if answer.status != 200:
            raise StoreUnavailable(f"{subject}: HTTP {answer.status} is no success", STRANGER_FIX)
        unquoted(answer.headers.get("etag"), subject)

    @property
    def trailers(self) -> bool:
        """Whether bodies go with one, as far as is known."""
        return self._trailers

    async def prove_trailers(self, target: Target, size: int) -> None:
        """Look once whether a store that tells no checksum understood the trailer, or kept the framing as content.

        Raises ChecksumRefused if it did; what is sent again then comes without."""
        if self._trailers_proven or not self._trailers:
            return
        stored = await self._stored_size(target)
        self._trailers_proven = True
        if stored is not None and stored > size:
            self._trailers = False
            raise ChecksumRefused(f"{target.subject}: the store has {stored} bytes, sent were {size}: it does not know aws-chunked")

    async def _stored_size(self, target: Target) -> int | None:
        named = dict(parse_qsl(target.query))
        try:
            if not named:
                answer = await self._access.call("head_object", target.subject, {"Key": target.key}, proof="ETag")
                return int(answer["ContentLength"])
            number = int(named["partNumber"])
            one = {"Key": target.key, "UploadId": named["uploadId"], "PartNumberMarker": number - 1, "MaxParts": 1}
            answer = await self._access.call("list_parts", target.subject, one, proof="IsTruncated")
            return next((int(part["Size"]) for part in answer.get("Parts", ()) if part["PartNumber"] == number), None)
        except StoreError:
            return None  # no proof either way: the commit compares all sizes anyway


def _trailer_refused(answer: Answer) -> bool:
    return answer.is_refusal and (
        answer.status in (411, 501) or refusal_of(answer.status, answer.headers, answer.body).code in TRAILER_REFUSED
    )
