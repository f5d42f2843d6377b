"""The part-transfer port: bytes by our own HTTP exchange, one request per part; a multipart upload begins and ends by it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from spotguard.adapters.s3.access import STALL_SECONDS, S3Access
from spotguard.adapters.s3.bulk_fetching import BulkFetcher
from spotguard.adapters.s3.bulk_sending import BulkSender
from spotguard.adapters.s3.multipart import PATIENT_SECONDS, MultipartUploads, combine
from spotguard.adapters.s3.part_fetching import PieceFetcher
from spotguard.adapters.s3.part_sending import BodySender, Target
from spotguard.adapters.s3.store_wire import StoreWire
from spotguard.ports.bulk_fetch import BulkFetch
from spotguard.ports.bulk_send import BulkSend
from spotguard.ports.object_store import ObjectMissing, UploadMissing
from spotguard.ports.part_transfer import ListedPart, Progress, SentObject, SentPart, Slice, Upload


class HttpPartTransfer:
    """One attempt per verb; retries are `RetryingTransfer`'s. Beside the port's errors, OSError of the local file comes through.

    `stall_seconds`: how long the store may take beyond what moving the bytes takes; `patient_seconds`: how long nothing may
    move of the answer to a Complete. `progress` is told a whole part at once, when
    the store has it, and a piece of 16 MiB of what is fetched."""

    def __init__(self, access: S3Access, *, stall_seconds: float = STALL_SECONDS, patient_seconds: float = PATIENT_SECONDS) -> None:
        self._access = access
        self._subject = access.subject
        self._wire = StoreWire(access, stall_seconds)
        self._uploads = MultipartUploads(access, self._wire, stall_seconds, patient_seconds)
        self._sender = BodySender(access, self._wire, stall_seconds)
        self._fetcher = PieceFetcher(access, self._wire, stall_seconds)
        self.bulk: BulkFetch = BulkFetcher(access, self._wire, stall_seconds)
        self.bulk_send: BulkSend = BulkSender(access, self._wire, self._sender)

    async def put(
        self, key: str, body: Slice, *, only_new: bool, metadata: Mapping[str, str], progress: Progress | None = None
    ) -> SentObject:
        headers = self._access.settings.creation_headers(metadata)
        if only_new:
            headers["if-none-match"] = "*"
        sent = await self._sender.send(Target(key, self._subject("write", key), headers), body)
        if progress:
            progress(body.size)
        return SentObject(key, body.size, sent.etag, sent.crc64nvme)

    async def begin(self, key: str, *, metadata: Mapping[str, str]) -> Upload:
        return await self._uploads.begin(key, metadata)

    async def send_part(self, upload: Upload, number: int, body: Slice, *, progress: Progress | None = None) -> SentPart:
        subject = self._subject(f"write part {number} of", upload.key)
        query = f"partNumber={number}&uploadId={quote(upload.upload_id, safe='-_.~')}"
        try:
            sent = await self._sender.send(Target(upload.key, subject, {}, query), body)
        except ObjectMissing as error:
            raise UploadMissing(f"{subject}: the upload is not open any more") from error
        if progress:
            progress(body.size)
        return SentPart(number, body.size, sent.etag, sent.crc64nvme)

    async def complete(self, upload: Upload, parts: Sequence[SentPart], *, only_new: bool) -> SentObject:
        return await self._uploads.complete(upload, parts, only_new=only_new)

    async def abort(self, upload: Upload) -> None:
        await self._uploads.abort(upload)

    async def unfinished(self, prefix: str) -> Sequence[Upload]:
        return await self._uploads.unfinished(prefix)

    async def parts(self, upload: Upload) -> Sequence[ListedPart]:
        return await self._uploads.parts(upload)

    async def fetch(self, key: str, into: Slice, *, etag: str | None = None, progress: Progress | None = None) -> int:
        return await self._fetcher.fetch(key, into, etag, progress)

    def combine(self, parts: Sequence[tuple[int, int]]) -> int:
        return combine(parts)

    def limit_rate(self, bytes_per_second: float | None) -> None:
        self._sender.cap.set_rate(bytes_per_second)

    async def close(self) -> None:
        """Let threads and connections end; every verb must have ended before. Not part of the port."""
        await self._wire.close()
