"""When the next look comes after the last one."""

from __future__ import annotations

import asyncio

import pytest

from spotguard.services.replication.scan_schedule import Cost, ScanSchedule
from tests.support.virtual_time import run_virtual


def looked_after(event_after: float) -> float:
    """Seconds from an event, so long after the end of a look that took 0.1 s, to the next look."""

    async def story() -> float:
        schedule, loop = ScanSchedule(rescan_seconds=1000), asyncio.get_running_loop()
        schedule.take(loop.time())
        schedule.took(Cost(0.1, 0.1, 0.0), full=False)
        loop.call_later(event_after, schedule.hint, "checkpoint-1")
        began = loop.time()
        await schedule.pause(began, next_due=None, draining=False)
        return loop.time() - began - event_after

    return run_virtual(story())


def test_what_happens_soon_after_a_look_waits_for_the_rest_of_its_pause() -> None:
    assert 1.4 < looked_after(0.5) < 1.6


def test_what_happens_after_a_long_quiet_is_looked_at_at_once() -> None:
    assert looked_after(60.0) < 0.1


def full_look_after(cost: Cost, *, has_hints: bool = True) -> float:
    """Seconds from a full look that took so much to the next one, while nothing happens."""

    async def story() -> float:
        schedule, loop = ScanSchedule(rescan_seconds=30), asyncio.get_running_loop()
        if not has_hints:
            schedule.scan_only()
        began = loop.time()
        assert schedule.take(began) is None
        schedule.took(cost, full=True)
        while schedule.take(loop.time()) is not None:
            await schedule.pause(loop.time(), next_due=None, draining=False)
        return loop.time() - began

    return run_virtual(story())


def test_full_looks_that_cost_little_come_at_the_interval() -> None:
    assert full_look_after(Cost(0.01, 0.01, 0.01)) == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize(("scan", "thought"), [(0.1, 0.0), (0.05, 0.15), (0.2, 0.19)])
def test_full_looks_take_less_than_a_fifth_of_a_percent_of_a_core(scan: float, thought: float) -> None:
    assert (scan + thought) / full_look_after(Cost(scan, scan, thought)) < 0.0015


def test_an_event_that_was_lost_costs_five_minutes_at_most_unless_the_scan_itself_costs_more() -> None:
    assert full_look_after(Cost(0.1, 0.1, 2.0)) == pytest.approx(300, abs=0.1)
    assert full_look_after(Cost(0.8, 0.8, 2.0)) == pytest.approx(400, abs=0.1)


def test_a_busy_machine_does_not_keep_full_looks_apart() -> None:
    assert full_look_after(Cost(5.0, 0.01, 0.01)) == pytest.approx(30, abs=0.1)


def test_without_events_only_the_scan_itself_keeps_full_looks_apart() -> None:
    assert full_look_after(Cost(0.01, 0.01, 1.0), has_hints=False) == pytest.approx(5, abs=0.1)
    assert full_look_after(Cost(0.1, 0.1, 1.0), has_hints=False) == pytest.approx(50, abs=0.1)


def test_files_that_no_event_tells_of_are_not_kept_waiting_by_what_a_look_leads_to() -> None:
    assert full_look_after(Cost(0.01, 0.01, 1.0, unwatched=True)) == pytest.approx(30, abs=0.1)
    assert full_look_after(Cost(0.1, 0.1, 1.0, unwatched=True)) == pytest.approx(50, abs=0.1)
