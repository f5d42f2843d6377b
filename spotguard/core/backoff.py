"""How long to wait before trying again, and when to give up: full jitter over a growing ceiling, under a deadline.

Full jitter, because many who failed at once must not return at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When there is no deadline the attempts decide when to give up; under one, it alone does.

    Too small a cap hammers a store that throttles; too large a one wakes up late after an outage."""

    attempts: int = 6
    """In all. With the defaults a fault is carried for about three seconds before whoever asked hears of it."""
    base_seconds: float = 0.2
    cap_seconds: float = 5.0


def pause(policy: RetryPolicy, failures: int, dice: float, seconds_left: float | None) -> float | None:
    """Seconds to wait after the n-th failure (from 1), or None to give up. `dice` is drawn evenly from 0 to 1.

    Under a deadline a pause takes at most half of what is left, so that one more attempt always has a chance; with less than
    10 ms left there is none."""
    wait = dice * min(policy.cap_seconds, policy.base_seconds * 2.0 ** min(failures - 1, 60))
    if seconds_left is None:
        return wait if failures < policy.attempts else None
    return min(wait, seconds_left / 2) if seconds_left > 0.01 else None
