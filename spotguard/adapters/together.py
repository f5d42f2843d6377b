"""Tasks that work on one open file: they end together, whatever happens, before anyone may close it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def run_together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order. The first failure cancels the others and is raised when all have ended; so is a cancellation.

    Not a TaskGroup: before Python 3.13 one whose child fails leaves its caller marked as cancelled, which breaks an
    `asyncio.timeout` around it."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        failures = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        for task in tasks:
            task.cancel()
        await settled(tasks)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()  # looked at, so that asyncio does not complain that nobody did
    try:
        for failure in failures:
            if failure is not None:
                raise failure
        return [task.result() for task in tasks]
    finally:
        tasks, failures, failure = [], [], None  # else the failure's traceback and this frame hold one another, and what they use


async def settled(futures: Sequence[asyncio.Future[Any]], seconds: float | None = None) -> None:
    """Wait until all are done, at most `seconds`; a cancellation meanwhile is raised only then."""
    loop = asyncio.get_running_loop()
    give_up = None if seconds is None else loop.time() + seconds
    cancelled: asyncio.CancelledError | None = None
    while (pending := [future for future in futures if not future.done()]) and (give_up is None or loop.time() < give_up):
        try:
            await asyncio.wait(pending, timeout=None if give_up is None else give_up - loop.time())
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled:
        raise cancelled
