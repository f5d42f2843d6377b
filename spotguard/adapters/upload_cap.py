"""The bandwidth cap over all uploads together.

Two things make it. Bodies begin one after the other, each when the ones before it have had their time at the cap: that bounds what leaves
over any stretch of time, whatever their sizes. And each connection is paced by the kernel at the cap, so that a body leaves evenly over its
time instead of at once. Requests without a body never wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

_FIRST_LOOK_SECONDS = 0.002
_LAST_LOOK_SECONDS = 0.1
_SMALL_BYTES = 256 << 10
"""A body as small as this may leave at once on a connection that was only just made."""


class Pacing(Protocol):
    """Holds each connection to a rate."""

    def set_rate(self, bytes_per_second: float | None) -> None: ...

    def look(self) -> None:
        """Take in new connections."""
        ...


class UploadCap:
    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._rate: float | None = None
        self._free_at = 0.0
        """Loop time at which those that have begun have had their time."""
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._under_way = 0
        self._look_again_seconds = _FIRST_LOOK_SECONDS
        self._look_soon = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

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
        self._changed.set()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def body(self, size: int) -> AsyncIterator[None]:
        """Entered when a body of this size may begin to leave; left when its request has ended."""
        await self._begin(size)
        self._under_way += 1
        if self._rate is not None:
            self._watch(size)
        try:
            yield
        finally:
            self._under_way -= 1

    async def close(self) -> None:
        """Look for no more connections; every body must have left before."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    async def _begin(self, size: int) -> None:
        loop = asyncio.get_running_loop()
        async with self._turn:
            while self._rate and (now := loop.time()) < self._free_at:
                await _set_within(self._changed, self._free_at - now)
            if self._rate:
                self._free_at = max(self._free_at, loop.time()) + size / self._rate

    def _watch(self, size: int) -> None:
        """Pace the connection that this body may be about to make: looked for often at first, then rarely, as long as bodies leave."""
        if size > _SMALL_BYTES:
            self._look_again_seconds = _FIRST_LOOK_SECONDS
            self._look_soon.set()
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._look_for_connections())

    async def _look_for_connections(self) -> None:
        while self._under_way and self._rate is not None:
            self._look_soon.clear()
            self._pacing.look()
            await _set_within(self._look_soon, self._look_again_seconds)
            self._look_again_seconds = min(_LAST_LOOK_SECONDS, 1.5 * self._look_again_seconds)


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
