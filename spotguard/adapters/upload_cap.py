"""The bandwidth cap over all uploads together."""

from __future__ import annotations

import asyncio


class UploadCap:
    """Each body waits, in turn, as long as its bytes take at the cap, and is then sent.

    So the average never exceeds the cap, while one body leaves at the speed of the line: the CRT takes a body at once and lets
    nobody slow it down. Small bodies make it smooth."""

    def __init__(self) -> None:
        self._rate: float | None = None
        self._paid_until = 0.0
        self._changed = asyncio.Event()

    def set_rate(self, bytes_per_second: float | None) -> None:
        """From now on, also for those that wait; None lets them all go at once."""
        self._rate = bytes_per_second
        self._paid_until = 0.0
        self._changed.set()
        self._changed = asyncio.Event()

    async def admit(self, size: int) -> None:
        """Return when `size` bytes may leave."""
        loop = asyncio.get_running_loop()
        while self._rate:
            changed = self._changed
            due = self._paid_until = max(self._paid_until, loop.time()) + size / self._rate
            try:
                async with asyncio.timeout_at(due):
                    await changed.wait()
            except TimeoutError:
                return
