"""An endpoint that takes bodies and notes when which bytes arrive: a process of its own, so that it reads while the sender works.

python -m benchmarks.arrivals: prints its port; at the end of its standard input, what it noted, as JSON
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from bisect import bisect_left
from contextlib import suppress
from itertools import accumulate


class Arrivals:
    """When which bytes came, in order: (monotonic seconds, bytes)."""

    def __init__(self, noted: list[tuple[float, int]]) -> None:
        self._times = [at for at, _ in noted]
        self._sums = [0, *accumulate(size for _, size in noted)]

    def between(self, start: float, end: float) -> int:
        """Bytes that came from `start` on and before `end`."""
        return self._sums[bisect_left(self._times, end)] - self._sums[bisect_left(self._times, start)]

    def faster_from(self, start: float, bytes_per_second: float, span: float = 0.01) -> float:
        """The first moment from `start` on after which bytes arrive at more than this rate for `span` seconds."""
        moment = start
        while self.between(moment, moment + span) < bytes_per_second * span:
            moment += 0.001
            if not self._times or moment > self._times[-1]:
                return float("inf")
        return moment


async def main() -> None:
    noted: list[tuple[float, int]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                left = int(head.partition("\r\ncontent-length:")[2].partition("\r\n")[0] or 0)
                while left:
                    chunk = await reader.read(min(left, 1 << 20))
                    if not chunk:
                        return
                    noted.append((time.monotonic(), len(chunk)))
                    left -= len(chunk)
                writer.write(b'HTTP/1.1 200 OK\r\nETag: "0123"\r\nContent-Length: 0\r\n\r\n')
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    sys.stdout.write(json.dumps(noted))
    sys.stdout.flush()
    os._exit(0)  # connections are open still, and of no more use


if __name__ == "__main__":
    asyncio.run(main())
