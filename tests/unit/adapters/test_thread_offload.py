"""What is computed beside the event loop, and what at once."""

from __future__ import annotations

import asyncio
import threading

import pytest

from spotguard.adapters.thread_offload import ThreadOffload


async def test_the_event_loop_goes_on_while_much_is_computed() -> None:
    went_on = threading.Event()
    asyncio.get_running_loop().call_soon(went_on.set)
    assert await ThreadOffload()(100_000, lambda: went_on.wait(20))


async def test_little_is_computed_where_it_is_asked_for() -> None:
    assert await ThreadOffload()(3, threading.current_thread) is threading.current_thread()


async def test_a_little_work_does_not_wait_behind_much() -> None:
    offload, over = ThreadOffload(), threading.Event()
    much = asyncio.ensure_future(offload(100_000, lambda: over.wait(20)))
    await asyncio.sleep(0)
    assert await offload(2000, lambda: not over.is_set())
    over.set()
    assert await much


@pytest.mark.parametrize("items", [1, 100_000])
async def test_what_the_work_raises_is_raised(items: int) -> None:
    def fail() -> None:
        raise ValueError("no such layout")

    with pytest.raises(ValueError, match="no such layout"):
        await ThreadOffload()(items, fail)
