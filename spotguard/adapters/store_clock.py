"""How far the local wall clock is from the store's, from the `Date` headers of its answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

_NOISE_SECONDS = 1.5
"""`Date` has whole seconds and travels: a smaller change than this is not one."""


class StoreClock:
    """Keeps one offset steadily: it stays 0 for a clock that is right, and moves only when the answers really disagree."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._offset: float | None = None

    @property
    def offset(self) -> float | None:
        """Seconds to add to the local wall clock; None before any answer."""
        return self._offset

    def store_now(self) -> float:
        """The store's present time as far as known, in seconds since the epoch."""
        return self._now() + (self._offset or 0.0)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Take the `date` of an answer (lower-case names) that has just arrived; nonsense is ignored."""
        try:
            said = parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, ValueError):
            return
        seen = said + 0.5 - self._now()  # the header is cut to whole seconds
        known = self._offset if self._offset is not None else 0.0
        self._offset = known if abs(seen - known) < _NOISE_SECONDS else seen
