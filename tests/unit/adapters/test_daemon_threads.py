"""Threads for blocking calls, where the system gives no more of them."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from spotguard.adapters import daemon_threads
from spotguard.adapters.daemon_threads import DaemonThreads


@pytest.fixture(autouse=True)
def _turns_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_threads, "_TURN_SECONDS", 60.0)


class Refusal:
    """Refuses to start so many threads, from the one after `granted` on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, granted: int, refused: int) -> None:
        self.granted, self.refused, self.fired = granted, refused, 0
        self._start = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            self._decide(thread)

        monkeypatch.setattr(threading.Thread, "start", start)

    def _decide(self, thread: threading.Thread) -> None:
        if self.granted > 0:
            self.granted -= 1
        elif self.fired < self.refused:
            self.fired += 1
            raise RuntimeError("can't start new thread")
        self._start(thread)


def test_a_call_that_gets_no_thread_of_its_own_waits_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        refusal = Refusal(monkeypatch, granted=1, refused=100)
        threads = DaemonThreads("test", 8)
        until = threading.Event()
        first = threads.start(lambda: until.wait(10)).promised
        others = [threads.start(lambda number=number: number).promised for number in range(3)]  # type: ignore[misc]
        until.set()
        assert await asyncio.wait_for(asyncio.gather(first, *others), 10) == [True, 0, 1, 2]
        assert refusal.fired
        threads.close()

    asyncio.run(story())


def test_a_call_that_finds_no_thread_at_all_is_done_as_soon_as_there_can_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_threads, "_AGAIN_SECONDS", 0.01)

    async def story() -> None:
        refusal = Refusal(monkeypatch, granted=0, refused=2)
        threads = DaemonThreads("test", 8)
        assert await asyncio.wait_for(threads.run(lambda: 7), 10) == 7
        assert refusal.fired == 2
        threads.close()

    asyncio.run(story())


def test_threads_that_nobody_needs_end_and_new_ones_take_their_place() -> None:
    async def story() -> None:
        threads = DaemonThreads("test", 8, idle_seconds=0.01)
        used: set[threading.Thread] = set()
        gate = threading.Barrier(8)

        def meet() -> None:
            used.add(threading.current_thread())
            gate.wait(10)

        for _ in range(3):
            used.clear()
            await asyncio.gather(*(threads.run(meet) for _ in range(8)))
            assert len(used) == 8
            for thread in used:
                await asyncio.to_thread(thread.join, 10)
                assert not thread.is_alive()
        threads.close()

    asyncio.run(story())


def test_no_call_is_lost_between_threads_that_end_and_threads_that_begin() -> None:
    """Calls come in bursts that are larger than the limit, as far apart as threads live idle."""

    async def story() -> None:
        threads = DaemonThreads("test", 3, idle_seconds=0.001)
        for burst in range(300):
            numbers = range(burst % 8)
            assert await asyncio.wait_for(asyncio.gather(*(threads.run(lambda n=n: n) for n in numbers)), 10) == list(numbers)  # type: ignore[misc]
            await asyncio.sleep(0.001)
        threads.close()

    asyncio.run(story())


def test_a_call_that_is_cancelled_before_it_began_never_runs() -> None:
    async def story() -> None:
        threads = DaemonThreads("test", 1)
        begun, until = threading.Event(), threading.Event()
        ran: list[str] = []

        def first() -> None:
            begun.set()
            until.wait(10)

        under_way = threads.start(first).promised
        unwanted = threads.start(lambda: ran.append("unwanted")).promised
        assert begun.wait(10)
        unwanted.cancel()
        until.set()
        await asyncio.wait_for(under_way, 10)
        await asyncio.wait_for(threads.run(lambda: ran.append("next")), 10)  # by the only thread, which had come to the other before
        assert ran == ["next"]
        threads.close()

    asyncio.run(story())


def test_the_end_of_a_call_that_nobody_wants_any_more_can_be_waited_for() -> None:
    async def story() -> None:
        threads = DaemonThreads("test", 1)
        begun, until = threading.Event(), threading.Event()
        ran: list[str] = []

        def work() -> None:
            begun.set()
            until.wait(10)
            ran.append("to its end")

        under_way, unwanted = threads.start(work), threads.start(lambda: ran.append("unwanted"))
        assert await asyncio.to_thread(begun.wait, 10)
        under_way.promised.cancel()
        unwanted.promised.set_exception(TimeoutError())
        await under_way.end(0.01)
        assert not under_way.ended
        until.set()
        await under_way.end(10)
        assert (ran, under_way.ended) == (["to its end"], True)
        await under_way.end(10)  # which it has long
        await unwanted.end(10)
        assert (ran, unwanted.ended) == (["to its end"], True)
        assert isinstance(unwanted.promised.exception(), TimeoutError)
        threads.close()

    asyncio.run(story())


def test_a_call_that_outlives_its_loop_leaves_its_thread_to_another() -> None:
    threads = DaemonThreads("test", 1)
    begun, until = threading.Event(), threading.Event()
    used: list[threading.Thread] = []

    def outlives() -> None:
        used.append(threading.current_thread())
        begun.set()
        until.wait(10)

    async def leaves() -> None:
        threads.start(outlives)
        assert begun.wait(10)

    async def comes() -> threading.Thread:
        return await asyncio.wait_for(threads.run(threading.current_thread), 5)

    asyncio.run(leaves())
    until.set()
    assert asyncio.run(comes()) is used[0]
    threads.close()


def test_a_call_that_raises_what_no_future_takes_ends_as_an_error_of_its_caller() -> None:
    async def story() -> None:
        threads = DaemonThreads("test", 1)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(threads.run(lambda: next(iter(()))), 5)
        assert await asyncio.wait_for(threads.run(lambda: 7), 5) == 7
        threads.close()

    asyncio.run(story())


class Course:
    """Calls that say that they have begun, and end when they are told to."""

    def __init__(self, count: int) -> None:
        self.begun = [threading.Event() for _ in range(count)]
        self.until = [threading.Event() for _ in range(count)]
        self.threads: dict[int, threading.Thread] = {}

    def call(self, number: int) -> int:
        self.threads[number] = threading.current_thread()
        self.begun[number].set()
        assert self.until[number].wait(10)
        return number


def test_of_many_calls_only_so_many_are_under_way_at_once_and_the_next_begins_in_the_thread_that_is_through() -> None:
    async def story() -> None:
        threads, course = DaemonThreads("test", 8, at_once=2), Course(4)
        works = [threads.start(partial(course.call, number)) for number in range(4)]
        for number in range(2):
            assert await asyncio.to_thread(course.begun[number].wait, 10)
        for number in range(2):
            course.until[number].set()
            assert await asyncio.to_thread(course.begun[number + 2].wait, 10)
            assert course.threads[number + 2] is course.threads[number]
            if number == 0:
                assert not course.begun[3].is_set()
        course.until[2].set()
        course.until[3].set()
        assert await asyncio.wait_for(asyncio.gather(*(work.promised for work in works)), 10) == [0, 1, 2, 3]
        threads.close()

    asyncio.run(story())


def test_a_call_that_gives_way_however_often_lets_one_other_begin_beside_it() -> None:
    async def story() -> None:
        threads, course = DaemonThreads("test", 8, at_once=1), Course(3)

        def gives_way() -> int:
            threads.give_way()
            threads.give_way()
            return course.call(0)

        works = [threads.start(call) for call in (gives_way, partial(course.call, 1), partial(course.call, 2))]
        for number in range(2):
            assert await asyncio.to_thread(course.begun[number].wait, 10)
        course.until[0].set()
        await asyncio.wait_for(works[0].promised, 10)
        assert await asyncio.to_thread(course.begun[2].wait, 0.05) is False
        course.until[1].set()
        assert await asyncio.to_thread(course.begun[2].wait, 10)
        course.until[2].set()
        assert await asyncio.wait_for(asyncio.gather(*(work.promised for work in works)), 10) == [0, 1, 2]
        threads.close()

    asyncio.run(story())


def test_a_call_waits_for_one_that_hangs_only_so_long_and_later_ones_are_as_few_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_threads, "_TURN_SECONDS", 0.01)

    async def story() -> None:
        threads, course = DaemonThreads("test", 8, at_once=1), Course(4)
        hangs, other = (threads.start(partial(course.call, number)) for number in range(2))
        assert await asyncio.to_thread(course.begun[1].wait, 10)
        assert not hangs.promised.done()
        for number in range(2):
            course.until[number].set()
        await asyncio.wait_for(asyncio.gather(hangs.promised, other.promised), 10)
        monkeypatch.setattr(daemon_threads, "_TURN_SECONDS", 60.0)
        later = [threads.start(partial(course.call, number)) for number in (2, 3)]
        assert await asyncio.to_thread(course.begun[2].wait, 10)
        assert not await asyncio.to_thread(course.begun[3].wait, 0.05)
        for number in (2, 3):
            course.until[number].set()
        await asyncio.wait_for(asyncio.gather(*(work.promised for work in later)), 10)
        threads.close()

    asyncio.run(story())


def test_a_thread_that_ends_leaves_its_turn_to_those_after_it() -> None:
    async def story() -> None:
        threads = DaemonThreads("test", 8, at_once=1, idle_seconds=0.01)
        for _ in range(3):
            thread = await asyncio.wait_for(threads.run(threading.current_thread), 10)
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()
        threads.close()

    asyncio.run(story())


def test_no_call_is_lost_where_few_run_at_once_and_some_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_threads, "_TURN_SECONDS", 0.0)

    async def story() -> None:
        threads = DaemonThreads("test", 5, at_once=2, idle_seconds=0.001)

        def call(number: int) -> int:
            if number % 3 == 0:
                threads.give_way()
            return number

        for burst in range(300):
            numbers = range(burst % 12)
            assert await asyncio.wait_for(asyncio.gather(*(threads.run(partial(call, n)) for n in numbers)), 10) == list(numbers)
            await asyncio.sleep(0.001)
        threads.close()

    asyncio.run(story())


def test_all_threads_end_at_the_close_though_few_may_have_a_turn() -> None:
    async def story() -> None:
        threads = DaemonThreads("test", 8, at_once=1)

        def meet() -> threading.Thread:
            threads.give_way()
            gate.wait(10)
            return threading.current_thread()

        gate = threading.Barrier(4)
        used = await asyncio.gather(*(threads.run(meet) for _ in range(4)))
        threads.close()
        for thread in used:
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()

    asyncio.run(story())
