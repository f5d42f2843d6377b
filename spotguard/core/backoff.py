"""How long to wait before trying again: full jitter over a growing ceiling, so that many who failed at once do not return at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    attempts: int = 6
    """In all. With the defaults a fault is carried for about six seconds before whoever asked hears of it."""
    base_seconds: float = 0.2
    cap_seconds: float = 5.0


def delay(policy: RetryPolicy, failures: int, dice: Callable[[], float]) -> float:
    """Seconds to wait after so many failures (from 1 on); `dice` gives a number from 0 to 1."""
    return dice() * min(policy.cap_seconds, policy.base_seconds * 2.0 ** (failures - 1))


def may_retry(policy: RetryPolicy, failures: int, *, wait: float, seconds_left: float | None) -> bool:
    """Whether to try again after `wait`: not beyond the attempts, and not beyond the deadline (None: there is none)."""
    return failures < policy.attempts and (seconds_left is None or wait < seconds_left)
