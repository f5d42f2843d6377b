"""How long to wait before a request is tried again, and when to give up: full jitter under a deadline."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts`: how many in all when there is no deadline; under one, the deadline alone decides.

    The n-th pause is drawn evenly from 0 to `first_seconds` × 2^(n-1), at most `cap_seconds`: callers that failed together come
    back apart. Too small a cap hammers a store that throttles; too large a one wakes up late after an outage.
    """

    attempts: int = 6
    first_seconds: float = 0.2
    cap_seconds: float = 10.0

    def pause(self, failures: int, dice: float, seconds_left: float | None) -> float | None:
        """Seconds to wait after the n-th failure (from 1), or None to give up. `dice` is evenly drawn from [0, 1).

        Under a deadline a pause never takes more than half of what is left, so that one more attempt always has a chance;
        when nothing is left there is none."""
        ceiling = min(self.cap_seconds, self.first_seconds * 2.0 ** min(failures - 1, 60))
        if seconds_left is None:
            return dice * ceiling if failures < self.attempts else None
        return min(dice * ceiling, seconds_left / 2) if seconds_left > 0 else None
