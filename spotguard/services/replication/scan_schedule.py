"""When to look at the disk, and at how much of it. Events are hints: losing all of them costs time, never a checkpoint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

_DEBOUNCE_SECONDS = 0.03
_STILL_SECONDS = 0.2
"""After as long without a look, what wakes us is looked at without waiting for more of it."""
_SHARE = 20
"""A look is followed by a pause of this many times its own duration, so that a trainer that writes without end costs us 5 %."""
_FULL_SHARE = 500
"""A full scan is at least this many times its own CPU time away from the one before."""
_FULL_LOOK_SHARE = 750
"""The same with all that is made out of it, where events tell of changes meanwhile. Both leave a daemon at rest under 0.2 % of a core."""
_LONGEST_APART_SECONDS = 300.0
"""Of the longer pause: an event may be lost, and where no notice comes so much training with it."""
_LONGEST_THOUGHT_SECONDS = 1.0
DRAIN_SECONDS = 0.5
_SCAN_ONLY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a look took."""

    scan_seconds: float
    """From its beginning until what is on disk was known."""
    scan_cpu_seconds: float
    thought_cpu_seconds: float
    """To make out what that means."""
    unwatched: bool = False
    """Whether files were found of which no event tells: links were followed out of the watch root."""


class ScanSchedule:
    def __init__(self, *, rescan_seconds: float) -> None:
        self._rescan_seconds = rescan_seconds
        self._touched: set[str] = set()
        self._closed: set[str] = set()
        self._wake = asyncio.Event()
        self._everything = True
        self._full_at = float("-inf")
        self._has_hints = True
        self._full_cost = self._last_cost = Cost(0.0, 0.0, 0.0)

    def hint(self, path: str | None, closed: bool = False) -> None:
        """Something happened at `path` (None: anywhere). From the event loop's thread."""
        if path is None:
            self._everything = True
        else:
            self._touched.add(path)
            if closed:
                self._closed.add(path)
        self._wake.set()

    def nudge(self) -> None:
        """Look again soon, though nothing is known to have happened on disk."""
        self._wake.set()

    def want_full(self) -> None:
        self._everything = True
        self._wake.set()

    def keep_full(self, closed: set[str]) -> None:
        """The next scan is a full one, whenever it comes, and these were closed before it: the last one failed, and asking again at once
        would spin."""
        self._everything = True
        self._closed |= closed

    def scan_only(self) -> None:
        """There will be no hints: look at everything more often."""
        self._has_hints = False
        self._rescan_seconds = min(self._rescan_seconds, _SCAN_ONLY_SECONDS)
        self._wake.set()

    def take(self, now: float) -> set[str] | None:
        """The paths to look at now; None for the whole root."""
        due = now >= self._full_due
        touched, self._touched = self._touched, set()
        if self._everything or due:
            self._everything = False
            self._full_at = now
            return None
        return touched

    def take_closed(self) -> set[str]:
        """Paths of files that were closed after writing since the last call."""
        closed, self._closed = self._closed, set()
        return closed

    def took(self, cost: Cost, *, full: bool) -> None:
        """What the last look took."""
        self._last_cost = cost
        if full:
            self._full_cost = cost

    async def pause(self, now: float, *, next_due: float | None, draining: bool) -> None:
        """Wait for a hint, for `next_due` (monotonic), or for the next full scan."""
        until = min(self._full_due, next_due if next_due is not None else self._full_due)
        if draining:
            until = min(until, now + DRAIN_SECONDS)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(max(_DEBOUNCE_SECONDS, until - now)):
                await self._wake.wait()
        except TimeoutError:
            return
        was_still = loop.time() - began >= max(_STILL_SECONDS, self._gap())
        if not was_still:
            await asyncio.sleep(_DEBOUNCE_SECONDS if draining else max(_DEBOUNCE_SECONDS, self._gap() - (loop.time() - began)))
        self._wake.clear()

    @property
    def _full_due(self) -> float:
        cost = self._full_cost
        apart = _FULL_SHARE * cost.scan_cpu_seconds
        if self._has_hints and not cost.unwatched:
            whole_look = _FULL_LOOK_SHARE * (cost.scan_cpu_seconds + cost.thought_cpu_seconds)
            apart = max(apart, min(whole_look, _LONGEST_APART_SECONDS))
        return self._full_at + max(self._rescan_seconds, apart)

    def _gap(self) -> float:
        thought = min(_LONGEST_THOUGHT_SECONDS, self._last_cost.thought_cpu_seconds)
        return max(_DEBOUNCE_SECONDS, min(5.0, _SHARE * self._last_cost.scan_seconds), thought)
