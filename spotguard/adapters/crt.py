"""Parts through the CRT: one request per part, its body a slice of an open file."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from awscrt.checksums import combine_crc64nvme, crc64nvme
from awscrt.http import HttpHeaders, HttpRequest
from awscrt.io import ClientBootstrap, DefaultHostResolver, EventLoopGroup
from awscrt.s3 import (S3ChecksumAlgorithm, S3ChecksumConfig, S3ChecksumLocation, S3Client, S3RequestTlsMode, S3RequestType, create_default_s3_signing_config)

from spotguard.adapters.s3_access import S3Access
from spotguard.adapters.s3_failures import from_crt
from spotguard.core.checksum import decode_crc64, encode_crc64
from spotguard.ports.object_store import StoreUnavailable, UploadMissing
from spotguard.ports.part_transfer import FileShrank, ListedPart, Progress, SentObject, SentPart, Slice, Upload


class Body(io.RawIOBase):
    def __init__(self, part: Slice) -> None:
        self.part, self.at, self.crc, self.shrank = part, 0, 0, False

    def readable(self): return True
    def seekable(self): return True

    def seek(self, where, whence=0):
        at = where if whence == 0 else (self.at + where if whence == 1 else self.part.size + where)
        if at != self.at:
            assert at in (0, self.part.size)
        self.at = at
        if at == 0:
            self.crc = 0
        return at

    def tell(self): return self.at

    def readinto(self, buffer):
        n = min(len(buffer), self.part.size - self.at)
        if n <= 0: return 0
        view = memoryview(buffer)[:n]
        got = os.preadv(self.part.fd, [view], self.part.offset + self.at)
        if got == 0:
            self.shrank = True
            raise OSError("file shrank")
        self.crc = crc64nvme(view[:got], self.crc)
        self.at += got
        return got


class CrtPartTransfer:
    def __init__(self, access: S3Access) -> None:
        self._access = access
        self._client = None

    async def _request(self, verb, key, method, query, headers, *, body=None, length=0, operation, on_body=None, checksum=True):
        subject = self._access.subject(verb, key)
        route = await self._access.route(subject)
        client = self._open(route)
        url = urlsplit(route.endpoint)
        bucket = self._access.settings.bucket
        host = url.netloc if route.path_style else f"{bucket}.{url.netloc}"
        path = "/" + quote((f"{bucket}/" if route.path_style else "") + key, safe="/-_.~") + query
        all_headers = [("host", host), *headers] + ([("content-length", str(length))] if body is not None else [])
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        answer: dict[str, Any] = {}

        def on_headers(status_code, headers, **_):
            answer["status"] = status_code
            answer["headers"] = {n.lower(): v for n, v in headers}

        def settle(error):
            if not done.done():
                done.set_result(error)

        def on_done(error=None, **kw):
            answer["error_headers"], answer["error_body"], answer["code"] = kw.get("error_headers"), kw.get("error_body"), kw.get("status_code")
            loop.call_soon_threadsafe(settle, error)

        request = client.make_request(
            type=S3RequestType.DEFAULT, operation_name=operation, request=HttpRequest(method, path, HttpHeaders(all_headers), body),
            checksum_config=S3ChecksumConfig(algorithm=S3ChecksumAlgorithm.CRC64NVME, location=S3ChecksumLocation.TRAILER) if body is not None and checksum else None,
            on_headers=on_headers, on_done=on_done, **({"on_body": on_body} if on_body else {}))
        try:
            error = await asyncio.shield(done)
        except asyncio.CancelledError:
            request.cancel()
            await asyncio.shield(done)
            raise
        if error is not None:
            if body is not None and body.shrank:
                raise FileShrank(key)
            raise from_crt(error, subject)
        return answer

    def _open(self, route):
        if self._client is None:
            group = EventLoopGroup(2)
            bootstrap = ClientBootstrap(group, DefaultHostResolver(group))
            self._client = S3Client(
                bootstrap=bootstrap, region=route.region, throughput_target_gbps=10, memory_limit=1 << 30,
                tls_mode=S3RequestTlsMode.ENABLED if route.secure else S3RequestTlsMode.DISABLED,
                signing_config=create_default_s3_signing_config(region=route.region, credential_provider=self._access.identity.crt_provider()))
        return self._client

    def _creation(self, metadata, only_new):
        headers = [(f"x-amz-meta-{n}", v) for n, v in metadata.items()] + list(self._access.settings.creation_headers().items())
        return headers + ([("if-none-match", "*")] if only_new else [])

    async def put(self, key, body, *, only_new, metadata, progress=None):
        stream = Body(body)
        answer = await self._request("write", key, "PUT", "", self._creation(metadata, only_new), body=stream, length=body.size, operation="PutObject")
        if progress: progress(body.size)
        return SentObject(key, body.size, answer["headers"]["etag"].strip('"'), stream.crc)

    async def begin(self, key, *, metadata):
        answer = await self._access.call("create_multipart_upload", self._access.subject("begin", key), Key=key, Metadata=dict(metadata), ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT", **self._access.settings.creation_parameters())
        return Upload(key, answer["UploadId"])

    async def send_part(self, upload, number, body, *, progress=None):
        stream = Body(body)
        answer = await self._request("send part", upload.key, "PUT", f"?partNumber={number}&uploadId={quote(upload.upload_id, safe='')}", [], body=stream, length=body.size, operation="UploadPart")
        if progress: progress(body.size)
        return SentPart(number, body.size, answer["headers"]["etag"].strip('"'), stream.crc)

    async def complete(self, upload, parts, *, only_new):
        crc = self.combine([(p.crc64nvme, p.size) for p in parts])
        size = sum(p.size for p in parts)
        answer = await self._access.call("complete_multipart_upload", self._access.subject("complete", upload.key), patient=True, Key=upload.key, UploadId=upload.upload_id,
            MultipartUpload={"Parts": [{"PartNumber": p.number, "ETag": p.etag} for p in parts]}, ChecksumCRC64NVME=encode_crc64(crc), ChecksumType="FULL_OBJECT", MpuObjectSize=size, **({"IfNoneMatch": "*"} if only_new else {}))
        return SentObject(upload.key, size, answer["ETag"].strip('"'), crc)

    async def abort(self, upload):
        try:
            await self._access.call("abort_multipart_upload", self._access.subject("abort", upload.key), Key=upload.key, UploadId=upload.upload_id)
        except UploadMissing:
            return

    async def unfinished(self, prefix):
        answer = await self._access.call("list_multipart_uploads", self._access.subject("list uploads", prefix), Prefix=prefix)
        return [Upload(u["Key"], u["UploadId"], u["Initiated"].timestamp()) for u in answer.get("Uploads", ())]

    async def parts(self, upload):
        answer = await self._access.call("list_parts", self._access.subject("list parts", upload.key), Key=upload.key, UploadId=upload.upload_id)
        return [ListedPart(p["PartNumber"], p["Size"], p["ETag"].strip('"'), decode_crc64(p["ChecksumCRC64NVME"]) if p.get("ChecksumCRC64NVME") else None) for p in answer.get("Parts", ())]

    async def fetch(self, key, into, *, etag=None, progress=None):
        if into.size == 0: return 0
        state = {"at": 0, "crc": 0}
        def on_body(chunk, offset, **_):
            os.pwrite(into.fd, chunk, into.offset + state["at"]); state["at"] += len(chunk); state["crc"] = crc64nvme(chunk, state["crc"])
        headers = [("range", f"bytes={into.offset}-{into.offset + into.size - 1}")] + ([("if-match", f'"{etag}"')] if etag else [])
        await self._request("fetch", key, "GET", "", headers, operation="GetObject", on_body=on_body)
        if state["at"] != into.size: raise StoreUnavailable(f"{key}: body ended early")
        if progress: progress(into.size)
        return state["crc"]

    def combine(self, parts):
        whole = 0
        for i, (crc, size) in enumerate(parts):
            whole = crc if i == 0 else combine_crc64nvme(whole, crc, size)
        return whole

    def limit_rate(self, bytes_per_second): pass
