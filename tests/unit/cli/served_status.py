"""A daemon's HTTP interface in a thread, answering with a status that the test chooses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from spotguard.adapters.http.server import serve_http
from spotguard.core.checkpoint import CheckpointState
from spotguard.core.problem import Problem, ProblemCode, Severity
from spotguard.core.status import CheckpointStatus, DaemonState, ExposureStatus, InterruptionStatus, Status
from spotguard.ports.daemon_control import FlushOutcome

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)


def status(state: DaemonState = DaemonState.WATCHING, **changes: object) -> Status:
    """A run in which all is well, but for what is changed."""
    well = Status(
        version="0.1.0",
        state=state,
        since=NOW - timedelta(hours=2),
        checkpoints=(checkpoint(),),
        exposure=ExposureStatus(seconds_since_last_commit=12.0, fits_in_notice=True),
        run="s3://my-bucket/run",
        watch_dir="/data",
    )
    return replace(well, **changes)  # type: ignore[arg-type]


def checkpoint(name: str = "sft/checkpoint-100", state: CheckpointState = CheckpointState.COMMITTED, **changes: object) -> CheckpointStatus:
    saved = NOW - timedelta(minutes=4)
    generation = 1 if state is CheckpointState.COMMITTED else 0
    known = CheckpointStatus(name, "sft", 100, state, 9, 2_000_000_000, 1_000_000_000, generation, saved, saved if generation else None)
    return replace(known, **changes)  # type: ignore[arg-type]


def problem(severity: Severity = Severity.ERROR, message: str = "the store denies PutObject") -> Problem:
    return Problem(ProblemCode.STORE_DENIED, severity, NOW - timedelta(minutes=3), message, "grant s3:PutObject")


class StaticControl:
    def __init__(self, shown: Status) -> None:
        self.shown = shown

    def status(self) -> Status:
        return self.shown

    def ready(self) -> tuple[str, ...]:
        return ()

    async def interruption(self, wait_seconds: float) -> InterruptionStatus | None:
        return None

    async def flush(self, wait_seconds: float) -> FlushOutcome:
        return FlushOutcome()

    def declare_complete(self, name: str) -> None:
        return

    async def drill(self, seconds: float) -> None:
        return


@contextmanager
def served(shown: Status, listen: str = "127.0.0.1:0", token: str | None = None) -> Iterator[str]:
    """The address at which the status is answered."""
    ready, address, ended, loops = threading.Event(), list[str](), list[asyncio.Event](), list[asyncio.AbstractEventLoop]()

    async def serve() -> None:
        ended.append(asyncio.Event())
        loops.append(asyncio.get_running_loop())
        async with serve_http(listen, StaticControl(shown), token, lambda why: None) as server:
            address.append(str(server.address))
            ready.set()
            await ended[0].wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield address[0]
    finally:
        loops[0].call_soon_threadsafe(ended[0].set)
        thread.join()
