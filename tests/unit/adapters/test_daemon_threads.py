"""Threads for blocking calls, where the system gives no more of them."""

from __future__ import annotations

import asyncio
import threading

import pytest

from spotguard.adapters import daemon_threads
from spotguard.adapters.daemon_threads import DaemonThreads


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
        first = threads.start(lambda: until.wait(10))
        others = [threads.start(lambda number=number: number) for number in range(3)]  # type: ignore[misc]
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
