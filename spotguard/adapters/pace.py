"""A cap on what all uploads together send: bytes are taken from a bucket that fills at the capped rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_BURST_SECONDS = 0.05
_LONGEST_SLEEP_SECONDS = 0.05
"""So that a cap that is lifted is felt at once."""


class Pace:
    """Asked by the CRT's threads while they read; safe to be changed from any thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self._now = now
        self._sleep = sleep
        self._lock = threading.Lock()
        self._rate: float | None = None
        self._free_at = 0.0

    def limit(self, bytes_per_second: float | None) -> None:
        with self._lock:
            self._rate = bytes_per_second
            self._free_at = self._now()

    def wish(self, size: int) -> int:
        """How many bytes of `size` to take at once."""
        rate = self._rate
        return size if rate is None else max(1, min(size, int(rate * _BURST_SECONDS)))

    def take(self, size: int) -> None:
        """Wait until so many bytes may go."""
        with self._lock:
            if self._rate is None:
                return
            begin = max(self._free_at, self._now())
            self._free_at = begin + size / self._rate
        while self._rate is not None and (wait := begin - self._now()) > 0:
            self._sleep(min(wait, _LONGEST_SLEEP_SECONDS))
