"""What a daemon owes to whoever claims its run next: to say that it drains, and to commit what is whole in the time there is."""

from __future__ import annotations

import asyncio

import structlog

from spotguard.core.claim import LONGEST_DRAIN_SECONDS, ClaimPhase
from spotguard.supervisor.guard import Guard

log = structlog.get_logger()

_LAST_WORDS_SECONDS = 2.0
"""Kept free before the successor begins, for stopping and the release."""
_WITHOUT_A_WORD_SECONDS = 15.0
_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 1.0
"""A deadline that moved by more is told again."""


async def announce_drains(guard: Guard) -> None:
    """While this daemon holds the run, whoever looks at it is told of each drain as it begins: a machine that is to take over may ask for
    the newest checkpoint long before its own daemon has claimed. Never returns; cancelled: the note stays, and its deadline passes."""
    told: float | None = None
    while True:
        if told is None:
            await guard.monitor.state.until(lambda state: state.current is not None)
        now = guard.ports.clock.monotonic()
        deadline = _drain_deadline(guard, now)
        if guard.claim.state.value.phase is not ClaimPhase.HELD:
            told = None  # `finish_for_successor` speaks now
        elif deadline is not None and (told is None or abs(deadline - told) > _AGAIN_SECONDS):
            told = deadline if await guard.claim.announce_drain(deadline) else told
        elif deadline is None and told is not None and guard.monitor.state.value.current is None and told > now:
            told = None if await guard.claim.take_back_drain() else told
        await _something_new(guard, _LOOK_SECONDS)


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
    published = (guard.replicator.view, guard.drain.view, guard.monitor.state, guard.claim.state)
    changes = [asyncio.ensure_future(value.changed()) for value in published]
    try:
        await asyncio.wait(changes, timeout=at_most_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for change in changes:
            change.cancel()
