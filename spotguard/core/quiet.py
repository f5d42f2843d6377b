"""How long a checkpoint has been left alone, on the monotonic axis, from looks that are seconds apart."""

from __future__ import annotations

from dataclasses import dataclass

from spotguard.core.checkpoint import FileStat, LocalCheckpoint, LocalFile

_NS = 1_000_000_000
COARSE_SECONDS = 0.05
"""Filesystem times come from a clock that ticks every 4 to 10 ms (Linux `current_time`), so they lag a little."""
_TICK_SECONDS = 0.02
"""More than a tick: within one, a write leaves every time and size as the write before has set it."""

Content = tuple[tuple[LocalFile, ...], tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Observation:
    """What a checkpoint looked like at the last look, and when it last changed."""

    content: Content
    last_change: float
    """Monotonic seconds; may lie before the daemon's start."""
    seen_at: float = float("-inf")
    """Monotonic seconds of the look."""

    def quiet_seconds(self, now: float) -> float:
        return max(0.0, now - self.last_change)


def observe(previous: Observation | None, checkpoint: LocalCheckpoint, *, now: float, wall_ns: int) -> Observation:
    """The observation after a look at `now` (monotonic seconds), while the wall clock showed `wall_ns`.

    First sight: the change is as old as the filesystem's times say, so a folder that was old at the start is quiet at once; times in
    the future count as now. Later: a change happened after the look before; its own time says when, if it lies between the two looks,
    else (a clock that was set, an mtime that was copied) it counts as now.
    """
    content = checkpoint.content
    age = max(0.0, (wall_ns - checkpoint.newest_change_ns) / _NS)
    if previous is None:
        return Observation(content, now - age, now)
    if previous.content == content:
        return Observation(previous.content, previous.last_change, now)
    dated = now - age
    if dated < previous.seen_at - COARSE_SECONDS:
        dated = now
    return Observation(content, min(now, max(dated, previous.seen_at)), now)


def seconds_until_telling(stat: FileStat, *, wall_ns: int) -> float:
    """How long to wait until every write that is still to come shows in the stat; 0 if its times come from another clock."""
    age = (wall_ns - stat.ctime_ns) / _NS
    return _TICK_SECONDS - age if -_TICK_SECONDS < age < _TICK_SECONDS else 0.0
