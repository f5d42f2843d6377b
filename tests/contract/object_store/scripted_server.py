"""A loopback HTTP server that gives one reply to everything, or none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.status} {self.body[:60].decode()}"

    def encoded(self, length: int | None = None) -> bytes:
        """`length`: of a body that is not sent, for a HEAD."""
        named = {"content-type": "application/xml", "date": "Tue, 24 Nov 2026 00:00:00 GMT", **self.headers}
        named["content-length"] = str(len(self.body) if length is None else length)
        lines = [f"HTTP/1.1 {self.status} X", *(f"{name}: {value}" for name, value in named.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


@dataclass(slots=True)
class ScriptedServer:
    reply: Reply | None
    """None: accepts, reads and never answers."""
    claims_bytes: int | None = None
    """What a HEAD says is stored."""
    heard: list[dict[str, str]] = field(default_factory=list)
    """The headers of each request, lower-case."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {line.partition(":")[0].strip().lower(): line.partition(":")[2].strip() for line in head[1:] if line}
                self.heard.append(headers)
                await reader.readexactly(int(headers.get("content-length", 0)))
                if self.reply is None:
                    await reader.read()
                    break
                length = self.claims_bytes if head[0].startswith("HEAD ") else None
                writer.write(self.reply.encoded(length))
                await writer.drain()


@asynccontextmanager
async def serving(what: Reply | ScriptedServer | None) -> AsyncIterator[str]:
    """The server's URL."""
    scripted = what if isinstance(what, ScriptedServer) else ScriptedServer(what)
    talks: set[asyncio.Task[None]] = set()

    def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(scripted.serve(reader, writer))
        talks.add(task)
        task.add_done_callback(talks.discard)

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(talks):
            task.cancel()
        if talks:
            await asyncio.wait(talks)
        await server.wait_closed()
        await asyncio.sleep(0)  # closed transports let their sockets go in the next turn of the loop
