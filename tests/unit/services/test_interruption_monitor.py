"""The watch over the metadata service: its beat, its blindness, and that a notice is published in the turn that saw it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from spotguard.core.deadline import InterruptionPolicy
from spotguard.core.notice import NoticeKind
from spotguard.core.problem import ProblemCode
from spotguard.ports.metadata_service import MetadataUnavailable
from spotguard.services.interruption.interruption_monitor import InterruptionMonitor
from spotguard.services.problem_board import ProblemBoard
from tests.support.memory_metadata import MemoryMetadataService
from tests.support.virtual_time import START, VirtualClock, run_virtual


class Watch:
    """A monitor that runs, and what it watches."""

    def __init__(self, *, skew: float = 0.0, policy: InterruptionPolicy | None = None, off: bool = False) -> None:
        self.clock = VirtualClock(skew_seconds=skew)
        self.service = MemoryMetadataService(VirtualClock().wall)
        self.problems = ProblemBoard(self.clock)
        self.monitor = InterruptionMonitor(None if off else self.service, self.clock, self.problems, policy)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.monitor.run())
        try:
            yield
            assert not task.done(), "the watch never ends by itself"
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def scenario(story: Callable[[Watch], Awaitable[None]], **settings: object) -> None:
    async def main() -> None:
        watch = Watch(**settings)  # type: ignore[arg-type]
        async with watch.running():
            await story(watch)

    run_virtual(main())


def test_it_polls_at_once_and_then_every_five_seconds_however_slow_the_answers() -> None:
    async def story(watch: Watch) -> None:
        watch.service.delay_seconds = 1.9
        await asyncio.sleep(26)
        assert watch.service.polls == [0, 5, 10, 15, 20, 25]

    scenario(story)


def test_an_answer_that_takes_longer_than_the_beat_is_followed_by_the_next_poll_and_no_burst() -> None:
    async def story(watch: Watch) -> None:
        watch.service.delay_seconds = 7
        await asyncio.sleep(22)
        assert watch.service.polls == [0, 7, 14, 21]
        watch.service.delay_seconds = 0
        await asyncio.sleep(20)
        gaps = [later - earlier for earlier, later in zip(watch.service.polls[4:], watch.service.polls[5:], strict=False)]
        assert gaps == [5] * len(gaps)

    scenario(story)


def test_a_notice_is_published_in_the_turn_that_saw_it() -> None:
    async def story(watch: Watch) -> None:
        await asyncio.sleep(1)
        at = watch.service.give(NoticeKind.TERMINATE, seconds=120)
        state = await watch.monitor.state.until(lambda state: state.current is not None)
        assert watch.clock.monotonic() == 5
        assert state.current is not None
        assert state.current.deadline == pytest.approx(116)
        assert at is not None
        assert state.current.deadline_at.timestamp() == at - 5
        assert state.current.detected_at == START + timedelta(seconds=5)

    scenario(story)


@pytest.mark.parametrize("skew", [-7200.0, 7200.0])
def test_a_wrong_local_clock_does_not_move_the_deadline(skew: float) -> None:
    async def story(watch: Watch) -> None:
        watch.service.give(NoticeKind.TERMINATE, seconds=120)
        await asyncio.sleep(1)
        current = watch.monitor.state.value.current
        assert current is not None
        assert current.deadline == pytest.approx(115)
        assert current.deadline_at == START + timedelta(seconds=115)
        assert current.detected_at == START

    scenario(story, skew=skew)


def test_three_misses_make_it_blind_and_the_first_answer_makes_it_see() -> None:
    async def story(watch: Watch) -> None:
        await asyncio.sleep(1)
        watch.service.unavailable = MetadataUnavailable("nobody listens", "do this")
        await asyncio.sleep(9)
        status = watch.monitor.service_status.value
        assert (status.mode, status.reachable, status.error) == ("required", False, "nobody listens")
        assert not watch.problems.stands(ProblemCode.IMDS_BLIND)
        await asyncio.sleep(6)
        (problem,) = watch.problems.standing
        assert (problem.code, problem.fix) == (ProblemCode.IMDS_BLIND, "do this")
        await asyncio.sleep(3600)
        watch.service.unavailable = None
        await asyncio.sleep(5)
        assert watch.problems.standing == ()
        status = watch.monitor.service_status.value
        assert (status.reachable, status.error) == (True, None)
        assert status.last_poll == watch.clock.wall() - timedelta(seconds=watch.clock.monotonic() % 5)

    scenario(story)


def test_a_long_blindness_is_logged_at_first_and_then_rarely_and_its_end_with_the_count() -> None:
    async def story(watch: Watch) -> None:
        watch.service.fails_next = 1000
        with capture_logs() as logs:
            await asyncio.sleep(5001)
        assert len([entry for entry in logs if entry["event"] == "metadata_service.missed"]) == 10
        (recovered,) = [entry for entry in logs if entry["event"] == "metadata_service.recovered"]
        assert recovered["misses"] == 1000

    scenario(story)


def test_a_service_that_hangs_for_ever_is_a_miss() -> None:
    async def story(watch: Watch) -> None:
        watch.service.hangs = True
        await asyncio.sleep(41)
        assert watch.problems.stands(ProblemCode.IMDS_BLIND)
        watch.service.hangs = False
        await asyncio.sleep(11)
        assert not watch.problems.stands(ProblemCode.IMDS_BLIND)

    scenario(story)


def test_blindness_after_a_notice_keeps_it() -> None:
    async def story(watch: Watch) -> None:
        watch.service.give(NoticeKind.TERMINATE, seconds=120)
        await asyncio.sleep(1)
        before = watch.monitor.state.value
        watch.service.unavailable = MetadataUnavailable("gone")
        await asyncio.sleep(100)
        assert watch.monitor.state.value == before

    scenario(story)


def test_a_notice_that_is_taken_back_is_withdrawn_at_the_second_poll_without_it() -> None:
    async def story(watch: Watch) -> None:
        watch.service.give(NoticeKind.TERMINATE, seconds=120)
        await asyncio.sleep(1)
        watch.service.withdraw(NoticeKind.TERMINATE)
        with capture_logs() as logs:
            await watch.monitor.state.until(lambda state: state.current is None)
        assert watch.clock.monotonic() == 10
        assert [entry["event"] for entry in logs] == ["notice.withdrawn"]

    scenario(story)


def test_a_maintenance_begins_to_drain_at_its_very_moment() -> None:
    async def story(watch: Watch) -> None:
        watch.service.give(NoticeKind.MAINTENANCE, seconds=301.5)
        await asyncio.sleep(1)
        assert watch.monitor.state.value.advice is not None
        watch.service.unavailable = MetadataUnavailable("blind meanwhile")
        await watch.monitor.state.until(lambda state: state.current is not None)
        assert watch.clock.monotonic() == pytest.approx(181.5)

    scenario(story)


def test_each_notice_is_logged_once() -> None:
    async def story(watch: Watch) -> None:
        with capture_logs() as logs:
            watch.service.give(NoticeKind.REBALANCE, seconds=0)
            await asyncio.sleep(21)
            watch.service.give(NoticeKind.STOP, seconds=120)
            await asyncio.sleep(21)
            watch.service.withdraw(NoticeKind.STOP)
            watch.service.give(NoticeKind.TERMINATE, seconds=120)
            await asyncio.sleep(21)
        told = [(entry["event"], entry["kind"]) for entry in logs]
        assert told == [
            ("notice.received", "rebalance"),
            ("notice.received", "stop"),
            ("interruption.began", "stop"),
            ("notice.changed", "terminate"),
        ]

    scenario(story)


@pytest.mark.parametrize("off", [False, True])
def test_a_drill_stands_until_it_is_ended_also_without_a_metadata_service(off: bool) -> None:
    async def story(watch: Watch) -> None:
        await asyncio.sleep(1)
        drill = watch.monitor.announce_drill(60)
        assert drill is not None
        assert (drill.drill, drill.signals_trainer, drill.deadline) == (True, False, 56)
        assert watch.monitor.announce_drill(60) is None
        await asyncio.sleep(30)
        assert watch.monitor.state.value.current == drill
        watch.monitor.end_drill()
        assert watch.monitor.state.value.current is None
        assert watch.monitor.announce_drill(60, signals_trainer=True) is not None
        await asyncio.sleep(76)
        assert watch.monitor.state.value.current is None, "nobody ended it"

    scenario(story, off=off)


def test_a_real_notice_ends_a_drill_and_no_drill_begins_under_it() -> None:
    async def story(watch: Watch) -> None:
        await asyncio.sleep(1)
        watch.monitor.announce_drill(60)
        watch.service.give(NoticeKind.TERMINATE, seconds=120)
        state = await watch.monitor.state.until(lambda state: state.current is not None and not state.current.drill)
        assert watch.clock.monotonic() == 5
        assert watch.monitor.announce_drill(60) is None
        watch.monitor.end_drill()
        assert watch.monitor.state.value == state

    scenario(story)


def test_switched_off_it_asks_nobody_and_says_so() -> None:
    async def story(watch: Watch) -> None:
        await asyncio.sleep(100)
        assert watch.service.polls == []
        status = watch.monitor.service_status.value
        assert (status.mode, status.reachable, status.last_poll) == ("off", None, None)

    scenario(story, off=True)
