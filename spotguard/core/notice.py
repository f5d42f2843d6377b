"""Notices: statements that the instance will go, and what each kind means.

A notice is what the metadata service said, already parsed. Times are seconds since the epoch in the clock of the service that
gave the notice; `seen_date` is the `Date` of that same answer, so their difference is free of the local clock's error.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class NoticeKind(StrEnum):
    TERMINATE = "terminate"
    STOP = "stop"
    HIBERNATE = "hibernate"
    REBALANCE = "rebalance"
    MAINTENANCE = "maintenance"
    SCALE_IN = "scale-in"


@dataclass(frozen=True, slots=True)
class Notice:
    """One statement of the metadata service."""

    kind: NoticeKind
    at: float | None
    """When it will happen; None where the service gives no time (scale-in)."""
    seen_date: float
    """The service's clock at the answer (its `Date`, else the local wall clock)."""
    text: str = ""
    """The service's own words, for people: an event's code and description."""
    reference: str = ""
    """What tells this notice from another of its kind, in the service's own words: the action and its time, an event's id."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One poll of the metadata service that was answered."""

    notices: tuple[Notice, ...]
    silent: frozenset[NoticeKind] = frozenset()
    """Kinds whose source did not answer this time: that none is among `notices` means nothing."""


@dataclass(frozen=True, slots=True)
class Instance:
    """What the metadata service says of this machine; None where it does not say."""

    id: str | None = None
    type: str | None = None
    zone: str | None = None
    lifecycle: str | None = None
    region: str | None = None
