"""A TCP proxy on loopback that lets only so many bytes per second through upwards, over all connections together.

`python -m tests.support.slow_link UPSTREAM_PORT BYTES_PER_SECOND` says its address on the first line and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress
from pathlib import Path

from spotguard.demo.server_process import ServerProcess

_CHUNK = 64 * 1024


class SlowLink(ServerProcess):
    """`with SlowLink(server.url, bytes_per_second=5e6) as link:` then `link.url` is the same server, far away."""

    def __init__(self, upstream_url: str, *, bytes_per_second: float, log: Path | None = None) -> None:
        port = upstream_url.rpartition(":")[2]
        super().__init__([sys.executable, "-m", "tests.support.slow_link", port, str(bytes_per_second)], log=log)


class _Proxy:
    def __init__(self, upstream_port: int, bytes_per_second: float) -> None:
        self._upstream_port = upstream_port
        self._seconds_per_byte = 1.0 / bytes_per_second
        self._free_at = 0.0

    async def serve(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        # Small buffers, inherited by its connections: else megabytes of an upload that was cancelled would still go through.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK)
        server = await asyncio.start_server(self._connected, sock=listening, limit=_CHUNK)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201 - the first line that ServerProcess waits for
        await asyncio.to_thread(sys.stdin.read)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
            await asyncio.gather(self._pump(reader, upstream_writer, slow=True), self._pump(upstream_reader, writer, slow=False))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slow: bool) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if slow:
                    await self._wait_for_turn(len(chunk))
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def _wait_for_turn(self, size: int) -> None:
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + size * self._seconds_per_byte
        await asyncio.sleep(self._free_at - now)


if __name__ == "__main__":
    asyncio.run(_Proxy(int(sys.argv[1]), float(sys.argv[2])).serve())
