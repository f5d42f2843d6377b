"""How fast bytes leave: measured over the time in which something was being sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from spotguard.ports.clock import Clock

WINDOW_SECONDS = 10.0
_LEAST_BYTES = 1 << 20
_LEAST_SECONDS = 0.2


class Throughput:
    def __init__(self, clock: Clock, retries_total: Callable[[], int] = lambda: 0) -> None:
        """`retries_total` tells how often a request was tried again."""
        self.retries_total = retries_total
        self._clock = clock
        self._recent: deque[tuple[float, int]] = deque()
        self._busy_since: float | None = None
        self._busy_bytes = 0
        self._sending = 0
        self._estimate: float | None = None
        self.total_bytes = 0

    def sent(self, size: int) -> None:
        """So many more bytes have gone (negative: an attempt starts over)."""
        now = self._clock.monotonic()
        self._recent.append((now, size))
        self._busy_bytes += size
        self.total_bytes = max(0, self.total_bytes + size)
        self._forget(now)
        self._measure(now)

    def began(self) -> None:
        """One more part is on its way."""
        if self._sending == 0:
            self._busy_since, self._busy_bytes = self._clock.monotonic(), 0
        self._sending += 1

    def ended(self) -> None:
        self._sending -= 1
        self._measure(self._clock.monotonic())

    @property
    def bytes_per_second(self) -> float:
        """Over the last ten seconds, idle time included."""
        now = self._clock.monotonic()
        self._forget(now)
        return max(0.0, sum(size for _, size in self._recent) / WINDOW_SECONDS)

    @property
    def estimate(self) -> float | None:
        """Bytes per second while sending, smoothed; None until at least a MiB has gone."""
        return self._estimate

    def _measure(self, now: float) -> None:
        if self._busy_since is None:
            return
        seconds = now - self._busy_since
        if self._busy_bytes < _LEAST_BYTES or seconds < _LEAST_SECONDS:
            return
        rate = self._busy_bytes / seconds
        self._estimate = rate if self._estimate is None else 0.5 * self._estimate + 0.5 * rate
        self._busy_since, self._busy_bytes = now, 0

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - WINDOW_SECONDS:
            self._recent.popleft()
