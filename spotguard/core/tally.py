"""How often something took how long: a cumulative histogram, as Prometheus keeps them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)
"""Upper bounds: from the milliseconds of a signal to the notice's two minutes and beyond."""


@dataclass(frozen=True, slots=True)
class Tally:
    bounds: tuple[float, ...] = SECONDS
    counts: tuple[int, ...] = (0,) * (len(SECONDS) + 1)
    """How many fell at or under each bound and over the one before it; the last are those over all bounds."""
    total: float = 0.0

    def with_one(self, seconds: float) -> Tally:
        at = bisect_left(self.bounds, seconds)
        counts = (*self.counts[:at], self.counts[at] + 1, *self.counts[at + 1 :])
        return replace(self, counts=counts, total=self.total + seconds)

    @property
    def cumulative(self) -> tuple[tuple[str, int], ...]:
        """(upper bound as text, how many were not over it), the last one `+Inf`."""
        running, told = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            told.append((bound, running))
        return tuple(told)
