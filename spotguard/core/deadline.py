"""By when all must be done after a notice, on the monotonic axis.

The time that a notice names and the `Date` of the answer that carried it come from one clock, so their difference is right
whatever the local clock says. That difference, added to the monotonic moment of the answer, is the deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from spotguard.core.notice import Notice, NoticeKind

LEAST_SECONDS = 0.3
"""Even a notice whose time is over gets this much: what is whole already can still be committed."""

_DATE_RESOLUTION_SECONDS = 2.0
"""`Date` has whole seconds, cut off, and an answer takes its time: a local clock this near counts as right."""


@dataclass(frozen=True, slots=True)
class InterruptionPolicy:
    """What the operator configured (`interruption.*`) and the constants of the table; all in seconds."""

    margin_seconds: float = 5.0
    """Kept free before the notice's time. Too small: the verdict comes after the machine has gone."""
    on_rebalance: Literal["ignore", "checkpoint", "drain"] = "checkpoint"
    scale_in_seconds: float = 120.0
    hibernate_seconds: float = 20.0
    """Hibernation starts at once; this is what one may hope for."""
    rebalance_seconds: float = 120.0
    maintenance_lead_seconds: float = 120.0
    """How long before NotBefore a maintenance becomes a drain."""


class Due(NamedTuple):
    happens: float | None
    """Monotonic moment from which on the notice counts as past; None where no time can be told at all."""
    deadline: float
    """Monotonic; never before `now + LEAST_SECONDS`. Without a time: `inf`."""
    date: float | None
    """The deadline on the service's clock, seconds since the epoch, where the notice's own time decides it."""


def due(notice: Notice, *, now: float, policy: InterruptionPolicy) -> Due:
    """When the notice comes true and by when all must be done, for an answer that came at the monotonic moment `now`."""
    seconds = seconds_from_sight(notice.kind, policy)
    if seconds is not None:
        end = now + max(seconds, LEAST_SECONDS)
        return Due(end, end, None)
    if notice.at is None:
        return Due(None, float("inf"), None)
    left = notice.at - notice.seen_date
    usable = left - policy.margin_seconds
    if usable < LEAST_SECONDS:
        return Due(now + left, now + LEAST_SECONDS, None)
    return Due(now + left, now + usable, notice.at - policy.margin_seconds)


def seconds_from_sight(kind: NoticeKind, policy: InterruptionPolicy) -> float | None:
    """How long kinds last whose deadline counts from the sight of them; None for those that name a time."""
    return {
        NoticeKind.HIBERNATE: policy.hibernate_seconds,
        NoticeKind.REBALANCE: policy.rebalance_seconds,
        NoticeKind.SCALE_IN: policy.scale_in_seconds,
    }.get(kind)


def corrected(wall: datetime, seen_date: float) -> datetime:
    """The local wall clock put right by the service's `Date`; itself where the two agree as far as `Date` can tell."""
    error_seconds = seen_date - wall.timestamp()
    return wall if abs(error_seconds) <= _DATE_RESOLUTION_SECONDS else wall + timedelta(seconds=error_seconds)
