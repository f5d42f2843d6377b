"""The bandwidth cap over all uploads together.

Two things make it. Bodies begin one after the other, each when the ones before it have had their time at the cap: that bounds what leaves
over any stretch of time, whatever their sizes. And each connection is paced by the kernel at the cap, so that a body leaves evenly over its
time instead of at once. Requests without a body never wait.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Pacing(Protocol):
    """Holds each connection to a rate."""

    def set_rate(self, bytes_per_second: float | None) -> None: ...


class UploadCap:
    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._rate: float | None = None
        self._free_at = 0.0
        """Loop time at which those that have begun have had their time."""
        self._last: object = None
        """The ticket of the body that began last."""
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def holds(self) -> bool:
        return self._rate is not None

    def seconds(self, size: int) -> float:
        """How long a body of this size takes at the cap; 0 without one."""
        return size / self._rate if self._rate else 0.0

    def set_rate(self, bytes_per_second: float | None) -> None:
        """From now on, also for those that wait and those under way; None lets them all go at once."""
        before, self._rate = self._rate, bytes_per_second
        self._pacing.set_rate(bytes_per_second)
        if before and bytes_per_second and self._free_at:
            now = asyncio.get_running_loop().time()
            self._free_at = now + max(0.0, self._free_at - now) * before / bytes_per_second
        elif not bytes_per_second:
            self._free_at = 0.0
        self._wake()

    async def admit(self, size: int) -> object:
        """Return when a body of this size may begin to leave, with a ticket for `give_back`."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            while self._rate and (now := loop.time()) < self._free_at:
                await _set_within(self._changed, self._free_at - now)
            if self._rate:
                self._free_at = max(self._free_at, loop.time()) + size / self._rate
            self._last = object()
            return self._last

    def give_back(self, size: int, ticket: object) -> None:
        """So much of a body did not leave, and will not: what is left of its time is for whoever waits. Only the last that has begun has
        any left; what has passed is lost, since the next one may have begun by now."""
        left = self._free_at - asyncio.get_running_loop().time()
        if self._rate and ticket is self._last and size > 0 and left > 0:
            self._free_at -= min(left, size / self._rate)
            self._wake()

    def _wake(self) -> None:
        """Whoever waits reckons anew."""
        self._changed.set()
        self._changed = asyncio.Event()


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
