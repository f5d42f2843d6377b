"""How long things took since the daemon started, for whoever draws them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from spotguard.core.tally import Tally


class Duration(StrEnum):
    COMMIT_LATENCY = "commit_latency"
    """From the last byte that the trainer wrote to the commit."""
    UPLOAD = "upload"
    """Of a checkpoint, from its first byte to send to its commit."""
    SIGNAL = "signal"
    """From the notice's sighting to the trainer's signal."""
    DRAIN = "drain"
    """From the notice's sighting to the verdict."""


class Durations:
    def __init__(self) -> None:
        self._tallies = {duration: Tally() for duration in Duration}
        self._drained: datetime | None = None

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """By the value of `Duration`."""
        return {duration.value: tally for duration, tally in self._tallies.items()}

    def observe(self, duration: Duration, seconds: float) -> None:
        """A clock that was set back between two readings counts as no time."""
        self._tallies[duration] = self._tallies[duration].with_one(max(0.0, seconds))

    def drained(self, *, detected_at: datetime, signalled_at: datetime | None, now: datetime) -> None:
        """A verdict was given. Of one interruption the first counts: a later one means that the trainer saved once more."""
        if detected_at == self._drained:
            return
        self._drained = detected_at
        self.observe(Duration.DRAIN, (now - detected_at).total_seconds())
        if signalled_at is not None:
            self.observe(Duration.SIGNAL, (signalled_at - detected_at).total_seconds())
