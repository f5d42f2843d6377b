"""An HTTP proxy on loopback that hands requests on to a real S3 server, except those that a plan names: they meet a fault."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qs, urlsplit


class Fault(StrEnum):
    ERROR_IN_SUCCESS = "200 with an error in its body"
    BUSY = "503"
    CONFLICT = "409"
    TAKEN = "412"
    RESET_BEFORE = "reset before it is done"
    RESET_AFTER = "reset after it is done"
    STALL = "taken, and never answered"
    STALL_AFTER = "done, and never answered"
    STALL_IN_BODY = "stops taking the body"
    TRICKLE = "takes the body, or gives the answer, drop by drop"
    TRUNCATED = "done, and the answer breaks off"


_CODES = {
    Fault.ERROR_IN_SUCCESS: (200, "InternalError"),
    Fault.BUSY: (503, "SlowDown"),
    Fault.CONFLICT: (409, "ConditionalRequestConflict"),
    Fault.TAKEN: (412, "PreconditionFailed"),
}
_DONE_FIRST = (Fault.RESET_AFTER, Fault.STALL_AFTER, Fault.TRUNCATED)


@dataclass(frozen=True, slots=True)
class _Request:
    head: bytes
    method: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    """Lower-case names."""
    has_key: bool

    @property
    def operation(self) -> str:
        """S3's name for it, as far as these tests use it."""
        copies = "x-amz-copy-source" in self.headers
        if self.method == "PUT":
            if "partNumber" in self.query:
                return "UploadPartCopy" if copies else "UploadPart"
            return "CopyObject" if copies else "PutObject"
        if self.method == "POST":
            if "uploads" in self.query:
                return "CreateMultipartUpload"
            return "CompleteMultipartUpload" if "uploadId" in self.query else "DeleteObjects"
        if self.method == "GET":
            if self.has_key:
                return "ListParts" if "uploadId" in self.query else "GetObject"
            return "ListMultipartUploads" if "uploads" in self.query else "ListObjectsV2"
        if self.method == "DELETE":
            return "AbortMultipartUpload" if "uploadId" in self.query else "DeleteObject"
        return "HeadObject" if self.has_key else "HeadBucket"


@dataclass(slots=True)
class FaultyProxy:
    """`plan` says which faults the next requests of an operation meet; `always` which all of them do."""

    upstream_port: int
    planned: dict[str, list[Fault]] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    fired: Counter[Fault] = field(default_factory=Counter)
    heard: Counter[str] = field(default_factory=Counter)
    """Requests by operation."""

    def plan(self, operation: str, *faults: Fault) -> None:
        self.planned.setdefault(operation, []).extend(faults)

    def heal(self) -> None:
        """Nothing is planned, and nothing was heard."""
        for kept in (self.planned, self.always, self.fired, self.heard):
            kept.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            request = _parse(await reader.readuntil(b"\r\n\r\n"))
            self.heard[request.operation] += 1
            fault = self._next(request.operation)
            if fault is not None:
                self.fired[fault] += 1
            if fault is Fault.STALL_IN_BODY:
                await asyncio.Event().wait()
            if request.headers.get("expect"):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            size = int(request.headers.get("content-length", 0))
            while fault is Fault.TRICKLE and size:
                await reader.readexactly(1000)
                await asyncio.sleep(0.05)
            body = await reader.readexactly(size)
            if fault in _CODES:
                writer.write(_error(*_CODES[fault]))
                await writer.drain()
                return
            answer = b"" if fault in (Fault.RESET_BEFORE, Fault.STALL) else await self._ask(request, body)
            if fault in (Fault.STALL, Fault.STALL_AFTER):
                await asyncio.Event().wait()
            if fault in (Fault.RESET_BEFORE, Fault.RESET_AFTER):
                _reset(writer)
                return
            while fault is Fault.TRICKLE and answer:
                writer.write(answer[:1000])
                answer = answer[1000:]
                await asyncio.sleep(0.05)
            writer.write(answer[: _half(answer)] if fault is Fault.TRUNCATED else answer)
            await writer.drain()

    def _next(self, operation: str) -> Fault | None:
        planned = self.planned.get(operation)
        return planned.pop(0) if planned else self.always.get(operation)

    async def _ask(self, request: _Request, body: bytes) -> bytes:
        """The real server's whole answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        with contextlib.closing(writer):
            kept = [line for line in request.head.split(b"\r\n") if not line.lower().startswith((b"expect:", b"connection:"))]
            writer.write(b"\r\n".join([kept[0], b"Connection: close", *kept[1:]]) + body)
            await writer.drain()
            return await reader.read()


def _parse(head: bytes) -> _Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {line.partition(":")[0].strip().lower(): line.partition(":")[2].strip() for line in lines if line}
    url = urlsplit(target)
    return _Request(head, method, parse_qs(url.query, keep_blank_values=True), headers, "/" in url.path.strip("/"))


def _error(status: int, code: str) -> bytes:
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def _half(answer: bytes) -> int:
    """Where an answer breaks off: in its body; if it has none, in its ETag; else in its first line."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if len(body) > 1:
        return len(head) + 4 + len(body) // 2
    etag = head.lower().find(b"\r\netag:")
    return etag + 20 if etag >= 0 else 10


def _reset(writer: asyncio.StreamWriter) -> None:
    link = writer.get_extra_info("socket")
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def faulty_proxy(upstream_url: str) -> AsyncIterator[tuple[FaultyProxy, str]]:
    """The proxy and its URL."""
    proxy = FaultyProxy(int(upstream_url.rpartition(":")[2]))
    talks: set[asyncio.Task[None]] = set()

    def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(proxy.serve(reader, writer))
        talks.add(task)
        task.add_done_callback(talks.discard)

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield proxy, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(talks):
            task.cancel()
        if talks:
            await asyncio.wait(talks)
        await server.wait_closed()
        await asyncio.sleep(0)
