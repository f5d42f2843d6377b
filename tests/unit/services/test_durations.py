"""What the histograms of `/metrics` count."""

from __future__ import annotations

import asyncio

import pytest

from spotguard.core.notice import NoticeKind
from spotguard.core.tally import Tally
from tests.support.virtual_time import run_virtual
from tests.unit.services.drain_world import Stage


def counted(tally: Tally) -> int:
    return sum(tally.counts)


def test_a_commit_a_signal_and_a_drain_are_counted_once_each() -> None:
    async def story() -> None:
        stage = Stage()
        stage.trainer.start()
        stage.saves_then_exits(2, seconds=3.0)
        async with stage.machine.on():
            await stage.committed(1)
            tallies = stage.machine.guard.durations.tallies
            assert {name: counted(tally) for name, tally in tallies.items()} == {"commit_latency": 1, "upload": 1, "signal": 0, "drain": 0}
            stage.imds.give(NoticeKind.TERMINATE, seconds=120)
            assert await stage.verdict() == "safe"
            await asyncio.sleep(10)
            tallies = stage.machine.guard.durations.tallies
            assert {name: counted(tally) for name, tally in tallies.items()} == {"commit_latency": 2, "upload": 2, "signal": 1, "drain": 1}
            assert 3.0 <= tallies["drain"].total < 10.0
            assert tallies["signal"].total == pytest.approx(0.0, abs=0.05)

    run_virtual(story())
