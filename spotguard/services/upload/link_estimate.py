"""What the link carries, from how long bodies take: Little's law, throughput = bytes in flight / time that each is in flight.

Only the end of a body is told, so counting what has ended over a stretch of time is too low at first, by as many times as there are bodies
side by side, and idle time would have to be taken out. Little's law needs neither: the first body that ends tells the rate of all, and a
pause between bodies is part of none.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_REMEMBER_SECONDS = 10.0
"""Of sending, not of time that passes: an old measurement holds until there is a newer one."""
_LARGE_BYTES = 1 << 20
"""Smaller bodies tell of the store's latency."""
_SMALL_ENOUGH_BYTES = 32 << 20
"""Where only small bodies go, so many bytes of them count: the run is made of small files."""
_STALL_SECONDS = 2.0


@dataclass(slots=True)
class Body:
    """One that is being sent; `share_at_start` is None for one whose time is not to be counted."""

    size: int
    share_at_start: float | None
    had_room: bool = False
    """Whether more could have gone beside it: what it took is the least that the link can do."""


@dataclass(slots=True)
class _Samples:
    """The latest bodies of one kind: bytes, and the seconds of the link that they took."""

    kept: deque[tuple[int, float]]
    size: int = 0
    seconds: float = 0.0

    def add(self, size: int, seconds: float) -> None:
        if self.kept and self.kept[-1][0] < _LARGE_BYTES:  # small ones are kept together
            last_size, last_seconds = self.kept.pop()
            self.kept.append((last_size + size, last_seconds + seconds))
        else:
            self.kept.append((size, seconds))
        self.size, self.seconds = self.size + size, self.seconds + seconds
        while len(self.kept) > 1 and self.seconds - self.kept[0][1] >= _REMEMBER_SECONDS:
            old_size, old_seconds = self.kept.popleft()
            self.size, self.seconds = self.size - old_size, self.seconds - old_seconds

    @property
    def rate(self) -> float | None:
        return self.size / self.seconds if self.seconds > 1e-6 else None


class LinkEstimate:
    """Times are monotonic seconds, and may only grow from call to call."""

    def __init__(self) -> None:
        self._in_flight: list[Body] = []
        self._bytes = 0
        self._share = 0.0
        """Seconds per byte in flight, summed up over time: a byte that is in flight takes this much of the link's time."""
        self._at = 0.0
        self._arrived_at = 0.0
        self._large, self._small, self._at_least = _Samples(deque()), _Samples(deque()), _Samples(deque())

    def began(self, size: int, now: float, *, had_room: bool = False) -> Body:
        self._pass_time(now)
        if not self._in_flight:
            self._arrived_at = now
        body = Body(size, self._share, had_room)
        self._in_flight.append(body)
        self._bytes += size
        return body

    def ended(self, body: Body, now: float, *, arrived: bool) -> None:
        """It has arrived, or was given up."""
        self._pass_time(now)
        beside, others = self._bytes - body.size, len(self._in_flight) - 1
        self._in_flight = [other for other in self._in_flight if other is not body]
        self._bytes = beside
        if not arrived:
            return
        self._arrived_at = now
        # one much smaller than those beside it took none of the link worth measuring
        if body.share_at_start is not None and body.size * others >= beside / 2:
            samples = self._at_least if body.had_room else self._large if body.size >= _LARGE_BYTES else self._small
            samples.add(body.size, body.size * (self._share - body.share_at_start))

    def start_over(self, now: float) -> None:
        """Forget what was measured; what is under way now is not counted either."""
        self._pass_time(now)
        for body in self._in_flight:
            body.share_at_start = None
        self._large, self._small, self._at_least = _Samples(deque()), _Samples(deque()), _Samples(deque())
        self._arrived_at = now

    def rate(self, now: float) -> float | None:
        """Bytes per second; None where nothing that tells was sent yet. Falls while nothing arrives any more."""
        measured = self._large.rate
        if measured is None and self._small.size >= _SMALL_ENOUGH_BYTES:
            measured = self._small.rate
        if measured is None:
            measured = self._at_least.rate
        large = sum(body.size for body in self._in_flight if body.size >= _LARGE_BYTES)
        waited = now - self._arrived_at
        if measured is None or not large or waited < _STALL_SECONDS:
            return measured
        return min(measured, large / waited)

    def _pass_time(self, now: float) -> None:
        if self._bytes:
            self._share += max(0.0, now - self._at) / self._bytes
        self._at = now
