"""Lets threads compute what takes long, while the event loop goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from spotguard.adapters.daemon_threads import DaemonThreads

T = TypeVar("T")
_FEW = 1000
"""Items that are worked on at once: some 10 ms of them, where a thread would cost a commit two wake-ups on a busy machine."""
_THREADS = 2
"""They share one interpreter, so more would be no faster; with one, a little work would wait behind much."""


class ThreadOffload:
    """As `Offload`."""

    def __init__(self) -> None:
        self._threads = DaemonThreads("spotguard-compute", _THREADS)

    async def __call__(self, items: int, work: Callable[[], T]) -> T:
        return work() if items <= _FEW else await self._threads.run(work)
