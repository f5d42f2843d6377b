"""Computation over many values, which would hold up the event loop, and with it a notice on its way to the trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Offload(Protocol):
    async def __call__(self, items: int, work: Callable[[], T]) -> T:
        """What `work` returns, or raises; few items are worked on at once, many beside the event loop.

        `work` reads only what nobody changes meanwhile, and changes nothing. Cancelled: it goes on unheard."""
        ...


async def at_once(items: int, work: Callable[[], T]) -> T:
    """Where nothing else waits for the event loop."""
    return work()
