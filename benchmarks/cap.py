"""How well the bandwidth cap holds: bodies of 16 MiB and 20 kB by the real adapters, to an endpoint that notes what arrives when."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import pstdev

from benchmarks.arrivals import Arrivals
from benchmarks.endpoint import HERE
from benchmarks.transfer import Record, Workshop
from spotguard.adapters.s3.connection import connect
from spotguard.adapters.s3.settings import S3Settings
from spotguard.ports.part_transfer import PartTransfer, Slice

_MEGABITS = (20, 200, 1000)
_LARGE_BYTES, _SMALL_BYTES = 16 << 20, 20_000
_CONCURRENCY = 8
_WINDOW_SECONDS = 10.0
_SETTLE_SECONDS = 1.0
_TENTH = 0.1


def cap(shop: Workshop, record: Record) -> None:
    """Ten seconds under each cap, beginning a second after the first byte; then it is lifted, as a notice does."""
    source = shop.scratch / "source"
    source.write_bytes(os.urandom(_LARGE_BYTES))
    os.environ |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_EC2_METADATA_DISABLED": "true"}
    for _ in range(min(shop.rounds, 2)):
        for megabits in _MEGABITS:
            record(f"{megabits} Mbit/s", _measured(source, megabits * 1e6 / 8))


@dataclass(frozen=True, slots=True)
class _Sending:
    began: float
    lifted: float
    """Both monotonic."""


def _measured(source: Path, rate: float) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.arrivals"]
    with (
        source.open("rb") as file,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent) as endpoint,
    ):
        assert endpoint.stdout is not None
        sending = asyncio.run(_send(int(endpoint.stdout.readline()), file.fileno(), rate))
        return figures(Arrivals(json.loads(endpoint.communicate()[0])), sending.began + _SETTLE_SECONDS, sending.lifted, rate)


def figures(arrivals: Arrivals, start: float, lifted: float, rate: float) -> dict[str, float]:
    """Of the window that begins at `start`: the rate and how it varies from one tenth of a second to the next, in percent of the cap. And
    how long after it was lifted bytes arrive at twice the cap."""
    tenths = [arrivals.between(start + n * _TENTH, start + (n + 1) * _TENTH) / _TENTH / rate for n in range(int(_WINDOW_SECONDS / _TENTH))]
    return {
        "percent_of_cap": 100 * arrivals.between(start, start + _WINDOW_SECONDS) / _WINDOW_SECONDS / rate,
        "tenths_deviation_percent": 100 * pstdev(tenths),
        "lifted_ms": 1000 * (arrivals.faster_from(lifted, 2 * rate) - lifted),
    }


async def _send(port: int, source: int, rate: float) -> _Sending:
    """Send under the cap, lift it, and go on for a second."""
    loop = asyncio.get_running_loop()
    settings = S3Settings(bucket="bench", region="us-east-1", endpoint_url=f"http://127.0.0.1:{port}", connections=_CONCURRENCY)
    async with connect(settings, check=False) as connection:
        transfer = connection.transfer
        transfer.limit_rate(rate)
        began = loop.time()
        sizes = [_LARGE_BYTES] * (_CONCURRENCY - 1) + [_SMALL_BYTES]
        senders = [asyncio.create_task(_keep_sending(transfer, Slice(source, 0, size), n)) for n, size in enumerate(sizes)]
        await asyncio.sleep(_SETTLE_SECONDS + _WINDOW_SECONDS)
        lifted = loop.time()
        transfer.limit_rate(None)
        await asyncio.sleep(1.0)
        for sender in senders:
            sender.cancel()
        await asyncio.wait(senders)
    return _Sending(began, lifted)


async def _keep_sending(transfer: PartTransfer, body: Slice, worker: int) -> None:
    number = 0
    while True:
        number += 1
        await transfer.put(f"{worker}/{number}", body, only_new=False, metadata={})
