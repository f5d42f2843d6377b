"""Fetches an object's bytes by ranged GETs into an open file, summed as they are written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.errors import Subject
from spotguard.adapters.s3.multipart import combine
from spotguard.adapters.s3.patience import Patience
from spotguard.adapters.s3.store_wire import StoreWire
from spotguard.adapters.s3.wire_failures import from_wire
from spotguard.adapters.together import run_together
from spotguard.adapters.wire.body import FileSink
from spotguard.adapters.wire.exchange import Answer
from spotguard.ports.object_store import ObjectExists, StoreError, StoreRejected, StoreUnavailable
from spotguard.ports.part_transfer import Progress, Slice

_PIECE_BYTES = 16 << 20
"""What one GET asks for: a break in the middle costs no more than this."""


class PieceFetcher:
    """At most `connections` pieces under way over all fetches together, so that memory is bounded whatever is asked for."""

    def __init__(self, access: S3Access, wire: StoreWire, stall_seconds: float) -> None:
        self._access, self._wire = access, wire
        self._patience = Patience(stall_seconds)
        self._room = asyncio.Semaphore(access.settings.connections)

    async def fetch(self, key: str, into: Slice, etag: str | None, progress: Progress | None) -> int:
        """The CRC64NVME of the slice. Raises port errors, OSError of writing the file."""
        if not into.size:
            await self._access.call("head_object", self._access.subject("read", key), {"Key": key}, proof="ETag")
            return 0
        end = into.offset + into.size
        pieces = [Slice(into.fd, at, min(_PIECE_BYTES, end - at)) for at in range(into.offset, end, _PIECE_BYTES)]
        if len(pieces) == 1:
            return await self._fetch_piece(key, pieces[0], etag, progress)
        sums = await run_together(self._fetch_piece(key, piece, etag, progress) for piece in pieces)
        return combine([(crc, piece.size) for crc, piece in zip(sums, pieces, strict=True)])

    async def _fetch_piece(self, key: str, piece: Slice, etag: str | None, progress: Progress | None) -> int:
        subject = self._access.subject("read", key)
        async with self._room:
            await self._wire.ready(subject)
            beside = {"range": f"bytes={piece.offset}-{piece.offset + piece.size - 1}"}
            if etag:
                beside["if-match"] = f'"{etag}"'
            sink = FileSink(piece)
            answer = await self._timed(self._wire.path(key), beside, subject, sink, piece.size)
        self._raise_failure(answer, sink, piece, subject, etag)
        if progress:
            progress(piece.size)
        return sink.crc64nvme

    async def _timed(self, path: str, beside: Mapping[str, str], subject: Subject, sink: FileSink, size: int) -> Answer:
        began, limit = asyncio.get_running_loop().time(), self._patience.seconds(size)
        try:
            answer = await self._wire.perform("GET", path, {}, subject, limit, beside=beside, sink=sink)
        except StoreUnavailable:
            self._patience.gave_up(size, limit)
            raise
        if answer.error is None and not answer.is_refusal:
            self._patience.succeeded(size, asyncio.get_running_loop().time() - began)
        return answer

    def _raise_failure(self, answer: Answer, sink: FileSink, piece: Slice, subject: Subject, etag: str | None) -> None:
        if isinstance(sink.failure, OSError):
            raise sink.failure
        if sink.failure is not None:
            raise StoreRejected(f"{subject}: {sink.failure}", "check that the store supports ranged reads") from sink.failure
        if answer.error is not None:
            raise from_wire(answer.error, subject, self._wire.endpoint) from answer.error
        if answer.is_refusal:
            raise self._refusal(answer, subject, etag)
        if answer.status not in (200, 206):
            raise StoreUnavailable(f"{subject}: HTTP {answer.status} is no success")
        told = answer.headers.get("content-range", f"bytes {piece.offset}-")
        if (answer.status == 200 and piece.offset) or not told.startswith(f"bytes {piece.offset}-"):
            raise StoreRejected(f"{subject}: the store sent another range than was asked for", "check that it supports ranged reads")
        if sink.received != piece.size:
            raise StoreUnavailable(f"{subject}: the body ended after {sink.received} of {piece.size} bytes")

    def _refusal(self, answer: Answer, subject: Subject, etag: str | None) -> StoreError:
        error = self._access.refused(answer, subject)
        if isinstance(error, ObjectExists):
            return StoreRejected(f"{subject}: it is another object than it was (its ETag is not {etag})")
        return error
