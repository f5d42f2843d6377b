"""An event loop whose clock jumps to the next timer instead of waiting for it: two minutes pass in a millisecond."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

START = datetime(2026, 11, 23, 20, 0, 0, tzinfo=UTC)


class _Jump(selectors.DefaultSelector):
    loop: VirtualTimeLoop | None = None

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0 or self.loop is None:
            return ready
        if timeout is None:
            return super().select(1.0)  # waits for a real thread or process
        self.loop.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now = 0.0
        selector = _Jump()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.now


class VirtualClock:
    """Both clocks driven by the virtual loop; `skew_seconds` sets the wall clock wrong."""

    def __init__(self, skew_seconds: float = 0.0) -> None:
        self.skew_seconds = skew_seconds

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def cpu(self) -> float:
        """Nothing that is done in virtual time is work."""
        return 0.0

    def wall(self) -> datetime:
        return START + timedelta(seconds=self.monotonic() + self.skew_seconds)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
