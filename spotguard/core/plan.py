"""What should be happening now? One total function from what is known to what to send, in order, and what to give up.

The same function decides in peace and in a drain; only the order and the triage differ. It is asked anew after every scan and every
finished upload, so nothing it says needs undoing: what it no longer names is simply not sent any further.

Why no checkpoint is lost by it:
* A checkpoint is given up (`superseded`) only when a newer one of its stage is whole, and never the oldest or the newest of the
  uncommitted ones, nor one whose upload has begun. So when a stage goes quiet, everything the plan still names gets sent, and the newest
  whole checkpoint of a stage is always among it.
* One that the user's retention rule would give up at once is given up before it is sent: after a restart that is what the rule took out
  of the bucket and the trainer still has on its disk. It is never the newest of its stage.
* In a drain the newest that still fits goes first, because a restore takes the newest; only what is all but sent is finished before it,
  where both fit. One that does not fit is named but stays in the order, last: estimates are often wrong, and a link that is free costs
  nothing.
* An older one is given up in a drain as soon as a newer one of its stage is committed: it could not be what a restore takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from spotguard.core.checkpoint import Order

COMMIT_SECONDS = 1.0
"""Allowed for the requests after the last byte: complete, list, manifest."""
_SLACK_UNDER_WAY = 1.1
"""What is under way keeps the link until it misses by a tenth: an estimate near the limit would else turn the link over again and
again, and each time what is in flight is lost."""
_ALMOST_DONE = 10
_COMPARED_BYTES_PER_SECOND = 500e6
"""What went ahead is read again at this rate at least: it was just written, so most of it is in the page cache, or else on a local disk."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A whole checkpoint on disk that is not committed."""

    name: str
    stage: str
    order: Order
    bytes_left: int
    """Still to be sent."""
    unproven_bytes: int = 0
    """Went while the file was still being written: is read again and compared before it counts."""
    begun: bool = False
    """Something of it has been sent since it became whole, or its upload has been started."""
    expendable: bool = False
    """Retention would give it up at once (`core.retention.is_expendable`)."""


@dataclass(frozen=True, slots=True)
class World:
    pending: tuple[Pending, ...]
    newest_committed: tuple[tuple[str, Order], ...] = ()
    """Per stage, the order of its newest committed checkpoint (of this machine's disk or not)."""
    seconds_left: float | None = None
    """To the deadline; None outside a drain."""
    bytes_per_second: float | None = None
    """Measured throughput; None when nothing was measured yet."""
    keep_all: bool = False
    """True for a single pass (`sync`) and a rehearsal, which give nothing up."""


class GivenUpName(NamedTuple):
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    send: tuple[str, ...]
    """Names in the order in which they get the link."""
    superseded: tuple[GivenUpName, ...] = ()
    does_not_fit: tuple[GivenUpName, ...] = ()
    """In a drain: named to the operator, still last in `send`."""


def plan(world: World) -> Plan:
    newest_first = sorted(world.pending, key=lambda p: (p.order, p.name), reverse=True)
    if world.seconds_left is None:
        superseded = () if world.keep_all else _not_worth_sending(newest_first)
        gone = {given_up.name for given_up in superseded}
        kept = [p for p in newest_first if p.name not in gone]
        begun_first = sorted(kept, key=lambda p: not p.begun)
        return Plan(tuple(p.name for p in begun_first), superseded)
    return _triage(newest_first, world, world.seconds_left)


def _not_worth_sending(newest_first: Sequence[Pending]) -> tuple[GivenUpName, ...]:
    expendable = [p for p in newest_first if p.expendable and not p.begun]
    left = [p for p in newest_first if p not in expendable]
    return (*(GivenUpName(p.name, "the retention rule would give it up at once") for p in expendable), *_middle_ones(left))


def _middle_ones(newest_first: Sequence[Pending]) -> Iterable[GivenUpName]:
    by_stage = sorted(newest_first, key=lambda p: p.stage)
    for _, group in groupby(by_stage, key=lambda p: p.stage):
        members = list(group)
        for middle in members[1:-1]:
            if not middle.begun:
                yield GivenUpName(middle.name, f"given up for the newer {members[0].name}")


def _triage(newest_first: Sequence[Pending], world: World, seconds_left: float) -> Plan:
    superseded = () if world.keep_all else tuple(_overtaken(newest_first, dict(world.newest_committed)))
    gone = {given_up.name for given_up in superseded}
    left = [p for p in newest_first if p.name not in gone]
    rate = world.bytes_per_second
    if not rate:
        return Plan(tuple(p.name for p in left), superseded)
    fitting: list[Pending] = []
    misfits: list[GivenUpName] = []
    needed = 0.0
    for p in left:
        seconds = p.bytes_left / rate + p.unproven_bytes / _COMPARED_BYTES_PER_SECOND + COMMIT_SECONDS
        slack = _SLACK_UNDER_WAY if p.begun else 1.0
        if needed + seconds <= seconds_left * slack:
            fitting.append(p)
            needed += seconds
        else:
            after = "" if seconds > seconds_left else f" after {fitting[0].name}"
            misfits.append(GivenUpName(p.name, f"needs {seconds:.0f} s{after} of the {max(0.0, seconds_left):.0f} s left"))
    order = [*(p.name for p in _almost_done_first(fitting)), *(misfit.name for misfit in misfits)]
    return Plan(tuple(order), superseded, tuple(misfits))


def _overtaken(newest_first: Sequence[Pending], committed: Mapping[str, Order]) -> Iterable[GivenUpName]:
    for p in newest_first:
        if p.stage in committed and committed[p.stage] > p.order:
            yield GivenUpName(p.name, "a newer one of its stage is committed")


def _almost_done_first(fitting: list[Pending]) -> list[Pending]:
    """All of these fit, one after the other; what is under way and needs no tenth of the newest one's bytes goes before it: little time
    buys something to fall back on."""
    if not fitting:
        return fitting
    newest = fitting[0]
    spare = newest.bytes_left / _ALMOST_DONE
    quick: list[Pending] = []
    for p in sorted((p for p in fitting[1:] if p.begun), key=lambda p: p.bytes_left):
        if p.bytes_left <= spare:
            quick.append(p)
            spare -= p.bytes_left
    return [*quick, newest, *(p for p in fitting[1:] if p not in quick)]
