"""A TCP proxy on loopback, in a thread of this process: counts what goes up, lets it through at a rate that may change at any time."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import suppress
from typing import Self

_CHUNK = 64 * 1024


class CountedLink:
    """`with CountedLink(server.url) as link:` then `link.url` is the same server. `bytes_per_second` None: as fast as it goes."""

    def __init__(self, upstream_url: str, *, bytes_per_second: float | None = None) -> None:
        self._upstream_port = int(upstream_url.rpartition(":")[2])
        self.bytes_per_second = bytes_per_second
        self.bytes_up = 0
        self._free_at = 0.0
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        # small buffers, inherited by its connections: else megabytes would still be under way when the sender is killed
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    def settle(self, quiet_seconds: float = 0.3) -> None:
        """Wait until nothing more comes: what a process that was killed had given to the kernel is still under way."""
        seen = -1
        while seen != self.bytes_up:
            seen = self.bytes_up
            time.sleep(quiet_seconds)

    async def _serve(self) -> None:
        talks: set[asyncio.Task[None]] = set()

        def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._talk(reader, writer))
            talks.add(task)
            task.add_done_callback(talks.discard)

        server = await asyncio.start_server(talk, sock=self._listening, limit=_CHUNK)
        await self._ended.wait()
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
            try:
                await asyncio.gather(self._pump(reader, up_writer, counted=True), self._pump(up_reader, writer, counted=False))
            finally:
                up_writer.close()
                writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if counted:
                    self.bytes_up += len(chunk)
                    await self._wait_for_turn(len(chunk))
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def _wait_for_turn(self, size: int) -> None:
        if rate := self.bytes_per_second:
            now = self._loop.time()
            self._free_at = max(self._free_at, now) + size / rate
            await asyncio.sleep(self._free_at - now)
