"""How long a request that moves bytes may take before it counts as stalled.

A connection that moves nothing at all is ended after the stall limit (`wire.sending`). Beside that the whole request has a limit, which
follows what the link really does: for one that trickles, or a body taken whole and never answered.
"""

from __future__ import annotations

from collections import deque

_ASSUMED_RATE = float(1 << 20)
_SLACK = 8.0
"""A part may be this much slower than the slowest of the latest ones."""


class Patience:
    """`stall_seconds` for the store to answer, and as long on top as the bytes take at a pessimistic rate."""

    def __init__(self, stall_seconds: float, latest: int = 16) -> None:
        self._stall_seconds = stall_seconds
        self._rates: deque[float] = deque(maxlen=latest)
        self._assumed = _ASSUMED_RATE

    def seconds(self, size: int) -> float:
        rate = min(min(self._rates) / _SLACK, _ASSUMED_RATE * 8) if self._rates else self._assumed
        return self._stall_seconds + size / rate

    def succeeded(self, size: int, seconds: float) -> None:
        if size >= 1 << 20:  # what is smaller tells of latency, not of the link
            self._rates.append(size / max(seconds, 0.001))

    def gave_up(self, size: int, limit: float) -> None:
        """A request of this size was given up after that long: the next ones get twice as long, in case the link lives but is slow.

        Many that were given up together count once: those that began under an older limit tell nothing of the present one."""
        if limit < self.seconds(size):
            return
        slowest = min(self._rates) / _SLACK if self._rates else self._assumed
        self._rates.clear()
        self._assumed = max(min(slowest, _ASSUMED_RATE) / 2, 1024.0)
