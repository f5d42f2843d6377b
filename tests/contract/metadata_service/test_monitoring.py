"""The watch over HTTP, in real time: how fast a notice is known, and that a mock's sliding time moves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from spotguard.adapters.instance.imds import REBALANCE, SPOT, Imds
from spotguard.adapters.system_clock import SystemClock
from spotguard.core.problem import ProblemCode
from spotguard.demo.metadata_facts import Behaviour
from spotguard.demo.metadata_service import FakeMetadataService
from spotguard.services.interruption.interruption_monitor import InterruptionMonitor
from spotguard.services.problem_board import ProblemBoard


@asynccontextmanager
async def monitored(imds: Imds, *, poll_seconds: float) -> AsyncIterator[tuple[InterruptionMonitor, ProblemBoard]]:
    problems = ProblemBoard(SystemClock())
    monitor = InterruptionMonitor(imds, SystemClock(), problems, poll_seconds=poll_seconds)
    task = asyncio.create_task(monitor.run())
    try:
        yield monitor, problems
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_sliding_time_moves_no_deadline(connect: Callable[..., Imds]) -> None:
    async with FakeMetadataService(behaviour=Behaviour(mock_like=True)) as service:
        service.facts.notice("terminate", seconds=120)
        async with monitored(connect(service.url), poll_seconds=0.3) as (monitor, _):
            first = await monitor.state.until(lambda state: state.current is not None)
            asked = service.requests[f"GET {SPOT}"]
            async with asyncio.timeout(20):
                while service.requests[f"GET {SPOT}"] < asked + 6:
                    await monitor.service_status.changed()
            assert monitor.state.value == first


async def test_a_service_that_comes_back_is_seen_again_and_a_notice_with_it(
    faithful: FakeMetadataService, connect: Callable[..., Imds]
) -> None:
    async with monitored(connect(faithful.url), poll_seconds=0.05) as (monitor, problems):
        async with asyncio.timeout(20):
            await monitor.service_status.until(lambda status: status.reachable is True)
            await faithful.stop()
            while not problems.stands(ProblemCode.IMDS_BLIND):
                await monitor.service_status.changed()
            faithful.facts.notice("stop", seconds=60)
            await faithful.start()
            state = await monitor.state.until(lambda state: state.current is not None)
        assert state.current is not None
        assert state.current.kind.value == "stop"


@pytest.mark.parametrize("path", [SPOT, REBALANCE])
async def test_each_path_is_asked_once_per_beat(faithful: FakeMetadataService, connect: Callable[..., Imds], path: str) -> None:
    async with monitored(connect(faithful.url), poll_seconds=0.2):
        await asyncio.sleep(1.1)  # real time is what is measured
    assert 3 <= faithful.requests[f"GET {path}"] <= 6
    assert faithful.requests["PUT api/token"] == 1
