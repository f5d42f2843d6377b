"""How well the bandwidth cap holds: `python -m benchmarks.upload_cap [--megabits 200]`.

Sends bodies of 16 MiB and of 20 kB through the real adapters to an endpoint on loopback, in a process of its own, that notes when
which bytes arrive. Tells the rate over each window of ten seconds, how it varies from one tenth of a second to the next, and how long
after the cap was lifted the bytes of the bodies that were under way arrive faster. Nothing is asserted: it prints what it measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from statistics import pstdev
from typing import Any

from spotguard.adapters.connection import connect
from spotguard.adapters.s3_settings import S3Settings
from spotguard.ports.part_transfer import PartTransfer, Slice

LARGE_BYTES, SMALL_BYTES = 16 << 20, 20_000
CONCURRENCY = 8
WINDOW_SECONDS = 10.0
SETTLE_SECONDS = 1.0


class Arrivals:
    """When which bytes came, in order: (monotonic seconds, bytes)."""

    def __init__(self, noted: list[tuple[float, int]]) -> None:
        self._times = [at for at, _ in noted]
        self._sums = [0, *accumulate(size for _, size in noted)]

    def between(self, start: float, end: float) -> int:
        return self._sums[bisect_left(self._times, end)] - self._sums[bisect_left(self._times, start)]

    def faster_from(self, start: float, bytes_per_second: float, span: float = 0.01) -> float:
        """The first moment from `start` on after which bytes arrive at more than this rate for `span` seconds."""
        moment = start
        while self.between(moment, moment + span) < bytes_per_second * span:
            moment += 0.001
            if moment > self._times[-1]:
                return float("inf")
        return moment


async def _endpoint() -> None:
    """Takes PUT requests, keeps nothing, and tells at the end of its standard input what arrived when."""
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


async def _keep_sending(transfer: PartTransfer, body: Slice, worker: int) -> None:
    number = 0
    while True:
        number += 1
        await transfer.put(f"{worker}/{number}", body, only_new=False, metadata={})


async def _send(port: int, source: int, rate: float, seconds: float) -> tuple[float, float]:
    """Send under the cap for so many seconds, lift it, and go on for a second; the moments of the start and of the lifting."""
    settings = S3Settings(bucket="bench", region="us-east-1", endpoint_url=f"http://127.0.0.1:{port}", connections=CONCURRENCY)
    async with connect(settings, check=False) as connection:
        transfer = connection.transfer
        transfer.limit_rate(rate)
        began = time.monotonic()
        sizes = [LARGE_BYTES] * (CONCURRENCY - 1) + [SMALL_BYTES]
        senders = [asyncio.create_task(_keep_sending(transfer, Slice(source, 0, size), n)) for n, size in enumerate(sizes)]
        await asyncio.sleep(seconds)
        lifted = time.monotonic()
        transfer.limit_rate(None)
        await asyncio.sleep(1.0)
        for sender in senders:
            sender.cancel()
        await asyncio.wait(senders)
    return began, lifted


def measure(megabits: float, windows: int) -> dict[str, Any]:
    rate = megabits * 1e6 / 8
    os.environ |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_EC2_METADATA_DISABLED": "true"}
    with tempfile.TemporaryFile() as source:
        source.write(os.urandom(LARGE_BYTES))
        source.flush()
        command = [sys.executable, "-m", "benchmarks.upload_cap", "--endpoint"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent
        ) as endpoint:
            assert endpoint.stdout is not None
            port = int(endpoint.stdout.readline())
            cpu = time.process_time()
            began, lifted = asyncio.run(_send(port, source.fileno(), rate, SETTLE_SECONDS + windows * WINDOW_SECONDS))
            cpu = time.process_time() - cpu
            arrivals = Arrivals(json.loads(endpoint.communicate()[0]))
    starts = [began + SETTLE_SECONDS + n * WINDOW_SECONDS for n in range(windows)]
    tenths = [
        arrivals.between(at, at + 0.1) / 0.1 / rate for at in (starts[0] + n * 0.1 for n in range(int(windows * WINDOW_SECONDS * 10)))
    ]
    return {
        "cap_megabits_per_second": megabits,
        "windows_of_10_s_in_percent_of_the_cap": [
            round(100 * arrivals.between(at, at + WINDOW_SECONDS) / WINDOW_SECONDS / rate, 2) for at in starts
        ],
        "tenths_of_a_second_in_percent_of_the_cap": {
            "lowest": round(100 * min(tenths)),
            "highest": round(100 * max(tenths)),
            "standard_deviation": round(100 * pstdev(tenths), 1),
        },
        "first_second_in_percent_of_the_cap": round(100 * arrivals.between(began, began + 1.0) / rate, 1),
        "lifted_to_twice_the_cap_ms": round(1000 * (arrivals.faster_from(lifted, 2 * rate) - lifted), 1),
        "rate_after_lifting_megabits_per_second": round(arrivals.between(lifted + 0.1, lifted + 0.9) * 8 / 0.8 / 1e6),
        "cpu_seconds_of_the_sender": round(cpu, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upload_cap", description=__doc__)
    parser.add_argument("--megabits", type=float, action="append", help="the cap in Mbit/s; repeatable (default: 20, 200 and 1000)")
    parser.add_argument("--windows", type=int, default=2, help="how many windows of 10 s")
    parser.add_argument("--endpoint", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.endpoint:
        asyncio.run(_endpoint())
        return
    for megabits in options.megabits or (20.0, 200.0, 1000.0):
        print(json.dumps(measure(megabits, options.windows)), flush=True)


if __name__ == "__main__":
    main()
