"""Who may send the next part: a fixed number of slots and bytes in flight, given to the waiter of the best rank."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from spotguard.core.part_cut import IN_FLIGHT_BYTES

Rank = Callable[[], tuple[Any, ...]]
"""Asked each time a slot falls free, so that a new order holds from the next part on. Smaller goes first."""


class _Waiting(NamedTuple):
    rank: Rank
    size: int
    yields: bool
    turn: asyncio.Future[None]


class PartSlots:
    def __init__(self, slots: int, in_flight_bytes: int = IN_FLIGHT_BYTES) -> None:
        self._slots = slots
        self._bytes = in_flight_bytes
        self._used_slots = 0
        self._used_bytes = 0
        self._unyielding = 0
        """Of the used slots: those that the yielding wait for."""
        self._waiting: list[_Waiting] = []

    @property
    def has_room(self) -> bool:
        """Whether more could go than does."""
        return self._used_slots < self._slots and self._used_bytes < self._bytes

    @asynccontextmanager
    async def slot(self, size: int, rank: Rank, *, yields: bool = False) -> AsyncIterator[None]:
        """Hold one slot and `size` bytes. Cancelled while waiting: nothing is held. A part larger than all goes alone.

        `yields`: begin only while nothing goes that does not yield, because a link is shared even where slots are free."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = _Waiting(rank, size, yields, turn)
        self._waiting.append(entry)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(entry)
            elif entry in self._waiting:
                self._waiting.remove(entry)
            raise
        try:
            yield
        finally:
            self._leave(entry)

    def _leave(self, entry: _Waiting) -> None:
        self._used_slots -= 1
        self._used_bytes -= entry.size
        self._unyielding -= not entry.yields
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._used_slots < self._slots:
            best = min(self._waiting, key=lambda entry: entry.rank())
            if best.yields and self._unyielding:
                return
            if self._used_slots and self._used_bytes + best.size > self._bytes:
                return  # the best one waits for room: letting smaller ones pass would starve it
            self._waiting.remove(best)
            if best.turn.cancelled():
                continue
            self._used_slots += 1
            self._used_bytes += best.size
            self._unyielding += not best.yields
            best.turn.set_result(None)
