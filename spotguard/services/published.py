"""One fact with one writer: its latest value, and a way to wait for the next. The only way in which tasks talk.

There is no queue, so there is no backlog of stale commands and nothing to drain: who looks late sees the newest value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Published(Generic[T]):
    def __init__(self, value: T) -> None:
        self._value = value
        self._changed = asyncio.Event()

    @property
    def value(self) -> T:
        return self._value

    def publish(self, value: T) -> None:
        """Make `value` the latest one and wake all who wait. From the event loop's thread only."""
        if value == self._value:
            return
        self._value = value
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> T:
        """The next value that is published."""
        await self._changed.wait()
        return self._value

    async def until(self, holds: Callable[[T], bool]) -> T:
        """The first value, from now on, of which `holds` is true."""
        while not holds(self._value):
            await self._changed.wait()
        return self._value
