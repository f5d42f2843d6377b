"""What should be happening now? One total function from what is known to what to send, in order, and what to give up.

The same function decides in peace and in a drain; only the order and the triage differ. It is asked anew after every scan and every
finished upload, so nothing it says needs undoing: what it no longer names is simply not sent any further.

Why no checkpoint is lost by it:
* A checkpoint is given up (`superseded`) only when a newer one of its stage is whole, and never the oldest or the newest of the
  uncommitted ones, nor one whose upload has begun. So when a stage goes quiet, everything the plan still names gets sent, and the newest
  whole checkpoint of a stage is always among it.
* In a drain the newest that still fits goes first, because a restore takes the newest. One that does not fit is named but stays in the
  order, last: estimates are often wrong, and a link that is free costs nothing.
* An older one is given up in a drain as soon as a newer one of its stage is committed: it could not be what a restore takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from spotguard.core.checkpoint import Order

COMMIT_SECONDS = 1.0
"""Allowed for the requests after the last byte: complete, list, manifest."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A whole checkpoint on disk that is not committed."""

    name: str
    stage: str
    order: Order
    bytes_left: int
    """Still to be sent."""
    begun: bool = False
    """Something of it has been sent since it became whole, or its upload has been started."""


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
    """True for a single pass (`sync`), which gives nothing up."""


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
        superseded = () if world.keep_all else tuple(_middle_ones(newest_first))
        gone = {given_up.name for given_up in superseded}
        kept = [p for p in newest_first if p.name not in gone]
        begun_first = sorted(kept, key=lambda p: not p.begun)
        return Plan(tuple(p.name for p in begun_first), superseded)
    return _triage(newest_first, world, world.seconds_left)


def _middle_ones(newest_first: Sequence[Pending]) -> Iterable[GivenUpName]:
    by_stage = sorted(newest_first, key=lambda p: p.stage)
    for _, group in groupby(by_stage, key=lambda p: p.stage):
        members = list(group)
        for middle in members[1:-1]:
            if not middle.begun:
                yield GivenUpName(middle.name, f"given up for the newer {members[0].name}")


def _triage(newest_first: Sequence[Pending], world: World, seconds_left: float) -> Plan:
    committed = dict(world.newest_committed)
    superseded = tuple(
        GivenUpName(p.name, "a newer one of its stage is committed")
        for p in newest_first
        if p.stage in committed and committed[p.stage] > p.order
    )
    gone = {given_up.name for given_up in superseded}
    left = [p for p in newest_first if p.name not in gone]
    rate = world.bytes_per_second
    if not rate:
        return Plan(tuple(p.name for p in left), superseded)
    fitting: list[Pending] = []
    misfits: list[Pending] = []
    needed = 0.0
    for p in left:
        seconds = p.bytes_left / rate + COMMIT_SECONDS
        if needed + seconds <= seconds_left:
            fitting.append(p)
            needed += seconds
        else:
            misfits.append(p)
    return Plan(
        tuple(p.name for p in [*_almost_done_first(fitting), *misfits]),
        superseded,
        tuple(
            GivenUpName(p.name, f"needs {p.bytes_left / rate + COMMIT_SECONDS:.0f} s of the {max(0.0, seconds_left):.0f} s left")
            for p in misfits
        ),
    )


def _almost_done_first(fitting: list[Pending]) -> list[Pending]:
    """All of these fit, one after the other; one that has begun and needs no tenth of the newest one's bytes goes before it."""
    if not fitting:
        return fitting
    newest = fitting[0]
    quick = [p for p in fitting[1:] if p.begun and p.stage != newest.stage and p.bytes_left * 10 <= newest.bytes_left]
    return [*quick, newest, *(p for p in fitting[1:] if p not in quick)]


def seconds_to_send(size: int, bytes_per_second: float | None) -> float | None:
    """How long these bytes take at the measured rate; None when nothing was measured."""
    return None if not bytes_per_second else size / bytes_per_second
