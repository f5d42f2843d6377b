"""When the next look comes after the last one."""

from __future__ import annotations

import asyncio

from spotguard.services.scan_schedule import ScanSchedule
from tests.support.virtual_time import run_virtual


def looked_after(event_after: float) -> float:
    """Seconds from an event, so long after the end of a look that took 0.1 s, to the next look."""

    async def story() -> float:
        schedule, loop = ScanSchedule(rescan_seconds=1000), asyncio.get_running_loop()
        schedule.take(loop.time())
        schedule.took(0.1, full=False)
        loop.call_later(event_after, schedule.hint, "checkpoint-1")
        began = loop.time()
        await schedule.pause(began, next_due=None, draining=False)
        return loop.time() - began - event_after

    return run_virtual(story())


def test_what_happens_soon_after_a_look_waits_for_the_rest_of_its_pause() -> None:
    assert 1.4 < looked_after(0.5) < 1.6


def test_what_happens_after_a_long_quiet_is_looked_at_at_once() -> None:
    assert looked_after(60.0) < 0.1
