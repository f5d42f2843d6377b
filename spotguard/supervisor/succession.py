"""What a daemon still does once somebody else has claimed its run: commit what is whole, or finish its drain, in the time there is."""

from __future__ import annotations

import asyncio

import structlog

from spotguard.core.claim import LONGEST_DRAIN_SECONDS
from spotguard.supervisor.guard import Guard

log = structlog.get_logger()

_LAST_WORDS_SECONDS = 2.0
"""Kept free before the successor begins, for stopping and the release."""
_WITHOUT_A_WORD_SECONDS = 15.0
_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 1.0
"""A deadline that moved by more is told again."""


async def finish_for_successor(guard: Guard, finish_by: float | None) -> None:
    """Returns when nothing is left to finish, or in time before the successor begins (`finish_by`, monotonic).

    A drain that stands, or that begins meanwhile, is announced to the successor; only one that it was told of gives us until its
    deadline. Cancelled: nothing is left behind but that note."""
    began = guard.ports.clock.monotonic()
    until = finish_by if finish_by is not None else began + _WITHOUT_A_WORD_SECONDS
    told: float | None = None
    guard.replicator.look_now()
    while (now := guard.ports.clock.monotonic()) < until - _LAST_WORDS_SECONDS and not _is_finished(guard, began):
        deadline = _drain_deadline(guard, now)
        if deadline is not None and (told is None or abs(deadline - told) > _AGAIN_SECONDS) and await guard.claim.announce_drain(deadline):
            told = until = deadline
        await _something_new(guard, min(_LOOK_SECONDS, max(0.0, until - _LAST_WORDS_SECONDS - now)))
    if not _is_finished(guard, began):
        log.warning("claim.unfinished", uncommitted=list(guard.replicator.view.value.uncommitted))


def _drain_deadline(guard: Guard, now: float) -> float | None:
    """When the drain that stands ends; None without one that matters. A rehearsal keeps nobody waiting."""
    current = guard.monitor.state.value.current
    if current is None or current.drill or current.deadline <= now:
        return None
    return min(current.deadline, now + LONGEST_DRAIN_SECONDS)


def _is_finished(guard: Guard, began: float) -> bool:
    view, interruption = guard.replicator.view.value, guard.drain.view.value.interruption
    if view.fully_observed_at < began or not view.nothing_left:
        return False
    return interruption is None or interruption.drill or interruption.verdict is not None


async def _something_new(guard: Guard, at_most_seconds: float) -> None:
    changes = [
        asyncio.ensure_future(published)
        for published in (guard.replicator.view.changed(), guard.drain.view.changed(), guard.monitor.state.changed())
    ]
    try:
        await asyncio.wait(changes, timeout=at_most_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for change in changes:
            change.cancel()
