"""Who may send the next part: a fixed number of slots and bytes in flight, given to the waiter of the best rank."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from spotguard.core.part_cut import IN_FLIGHT_BYTES

Rank = Callable[[], tuple[Any, ...]]
"""Asked each time a slot falls free, so that a new order holds from the next part on. Smaller goes first."""


class Slot:
    """One that is asked for, then held: `async with` waits for its turn, and gives it back."""

    __slots__ = ("_slots", "_turn", "given", "rank", "size", "yields")

    def __init__(self, slots: PartSlots, size: int, rank: Rank, *, yields: bool) -> None:
        self._slots = slots
        self.size, self.rank, self.yields = size, rank, yields
        self.given = False
        self._turn: asyncio.Future[None] | None = None

    async def __aenter__(self) -> None:
        self._slots.ask(self)
        if self.given:
            return  # at once: no turn of the event loop goes by
        self._turn = asyncio.get_running_loop().create_future()
        try:
            await self._turn
        except asyncio.CancelledError:
            self._slots.give_back(self)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._slots.give_back(self)

    def give(self) -> None:
        self.given = True
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)


class PartSlots:
    def __init__(self, slots: int, in_flight_bytes: int = IN_FLIGHT_BYTES) -> None:
        self._slots = slots
        self._bytes = in_flight_bytes
        self._used_slots = 0
        self._used_bytes = 0
        self._unyielding = 0
        """Of the used slots: those that the yielding wait for."""
        self._waiting: list[Slot] = []

    @property
    def has_room(self) -> bool:
        """Whether more could go than does."""
        return self._used_slots < self._slots and self._used_bytes < self._bytes

    def slot(self, size: int, rank: Rank, *, yields: bool = False) -> Slot:
        """Hold one slot and `size` bytes. Cancelled while waiting: nothing is held. A part larger than all goes alone.

        `yields`: begin only while nothing goes that does not yield, because a link is shared even where slots are free."""
        return Slot(self, size, rank, yields=yields)

    def ask(self, slot: Slot) -> None:
        self._waiting.append(slot)
        self._admit()

    def give_back(self, slot: Slot) -> None:
        """It is not held, nor waited for, any more."""
        if slot.given:
            self._used_slots -= 1
            self._used_bytes -= slot.size
            self._unyielding -= not slot.yields
        else:
            self._waiting.remove(slot)
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._used_slots < self._slots:
            best = min(self._waiting, key=_rank)
            if best.yields and self._unyielding:
                return
            if self._used_slots and self._used_bytes + best.size > self._bytes:
                return  # the best one waits for room: letting smaller ones pass would starve it
            self._waiting.remove(best)
            self._used_slots += 1
            self._used_bytes += best.size
            self._unyielding += not best.yields
            best.give()


def _rank(slot: Slot) -> tuple[Any, ...]:
    return slot.rank()
