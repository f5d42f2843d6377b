from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from spotguard.adapters.http.server import serve_http
from tests.contract.http.fake_control import FakeControl


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


def refuse_taken(reason: str) -> None:
    raise AssertionError(reason)


@pytest.fixture
async def local(control: FakeControl) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server on loopback without a token."""
    async with (
        serve_http("127.0.0.1:0", control, None, refuse_taken) as server,
        aiohttp.ClientSession(f"http://{server.address}") as session,
    ):
        yield session


@pytest.fixture
async def guarded(control: FakeControl) -> AsyncIterator[aiohttp.ClientSession]:
    """A client, without credentials of its own, of a server with the token `geheim`."""
    async with (
        serve_http("127.0.0.1:0", control, "geheim", refuse_taken) as server,
        aiohttp.ClientSession(f"http://{server.address}") as session,
    ):
        yield session
