"""The clocks. Waiting is done by the event loop; these are for arithmetic."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    def wall(self) -> datetime:
        """Now, aware, in UTC. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds on the event loop's axis. Never jumps."""
        ...

    def cpu(self) -> float:
        """Seconds that this thread has kept a processor busy."""
        ...


def wall_ns(clock: Clock) -> int:
    """Nanoseconds since the epoch by the wall clock, to be held against the times of files."""
    return int(clock.wall().timestamp() * 1e9)
