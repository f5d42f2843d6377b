"""How fast bytes leave now, and how fast they would leave if nothing held them back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spotguard.ports.clock import Clock
from spotguard.services.upload.link_estimate import LinkEstimate

WINDOW_SECONDS = 10.0
_BOUND_BY_CAP = 0.8
"""From this share of the cap on it was the cap that was measured, not the link."""


class Throughput:
    def __init__(self, clock: Clock, retries_total: Callable[[], int] = lambda: 0) -> None:
        """`retries_total` tells how often a request was tried again."""
        self.retries_total = retries_total
        self._clock = clock
        self._recent: deque[tuple[float, int]] = deque()
        self._measured = LinkEstimate()
        self._cap: float | None = None
        self._link: float | None = None
        """The link's rate as it was last measured before the cap was last changed."""
        self.total_bytes = 0

    @contextmanager
    def sending(self, size: int, *, had_room: bool = False) -> Iterator[None]:
        """Around the sending of one body, which has arrived when this ends without an error. `had_room`: what goes is no measure of what
        could go, because there was not more to send."""
        measured, arrived = self._measured, False
        body = measured.began(size, self._clock.monotonic(), had_room=had_room)
        try:
            yield
            arrived = True
        finally:
            measured.ended(body, self._clock.monotonic(), arrived=arrived)

    def sent(self, size: int) -> None:
        """So many more bytes have gone (negative: an attempt starts over)."""
        now = self._clock.monotonic()
        self._recent.append((now, size))
        self.total_bytes = max(0, self.total_bytes + size)
        self._forget(now)

    def limited(self, bytes_per_second: float | None) -> None:
        """From now on all bodies together are held to this rate; None: to none."""
        if bytes_per_second == self._cap:
            return
        self._link = self.of_the_link
        self._cap = bytes_per_second
        self._measured.start_over(self._clock.monotonic())

    @property
    def bytes_per_second(self) -> float:
        """Over the last ten seconds, idle time included."""
        now = self._clock.monotonic()
        self._forget(now)
        return max(0.0, sum(size for _, size in self._recent) / WINDOW_SECONDS)

    @property
    def estimate(self) -> float | None:
        """Bytes per second while sending as things are now; None where that is not known."""
        measured = self._now()
        if measured is not None or self._link is None:
            return measured
        return self._link if self._cap is None else min(self._link, self._cap)

    @property
    def of_the_link(self) -> float | None:
        """Bytes per second of the link without the cap; None where it was never seen without, or was never used."""
        measured = self._now()
        if measured is None:
            return self._link
        if self._cap is None or measured < _BOUND_BY_CAP * self._cap:
            return measured
        return None if self._link is None else max(self._link, measured)

    def _now(self) -> float | None:
        return self._measured.rate(self._clock.monotonic())

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - WINDOW_SECONDS:
            self._recent.popleft()
