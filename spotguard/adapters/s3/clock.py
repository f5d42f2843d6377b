"""How far the local wall clock is from the store's, from the `Date` headers of its answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

_NOISE_SECONDS = 1.5
"""`Date` has whole seconds and travels: a smaller change than this is not one."""


class StoreClock:
    """Keeps one offset steadily: it stays 0 for a clock that is right, and moves only when the answers really disagree.

    A local clock that is set (as chrony does after a boot) shifts the offset at once, not with the next answer: what is saved in between
    would else be dated wrongly by as much, and a checkpoint from the future hides all that come after it."""

    def __init__(self, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._monotonic = monotonic
        self._offset: float | None = None
        self._since_boot = now() - monotonic()
        """What the local wall clock showed at the monotonic zero, when the offset was found."""

    @property
    def offset(self) -> float | None:
        """Seconds to add to the local wall clock; None before any answer."""
        if self._offset is None:
            return None
        set_by = self._now() - self._monotonic() - self._since_boot
        return self._offset if abs(set_by) < _NOISE_SECONDS else self._offset - set_by

    def store_now(self) -> float:
        """The store's present time as far as known, in seconds since the epoch."""
        return self._now() + (self.offset or 0.0)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Take the `date` of an answer (lower-case names) that has just arrived; nonsense is ignored."""
        try:
            said = parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, ValueError):
            return
        seen = said + 0.5 - self._now()  # the header is cut to whole seconds
        known = self.offset or 0.0
        self._offset = known if abs(seen - known) < _NOISE_SECONDS else seen
        self._since_boot = self._now() - self._monotonic()
