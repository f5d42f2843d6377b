from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from spotguard.adapters.instance.imds import Imds
from spotguard.demo.metadata_facts import Behaviour
from spotguard.demo.metadata_service import FakeMetadataService


@pytest.fixture(params=["faithful", "mock-like"])
async def service(request: pytest.FixtureRequest) -> AsyncIterator[FakeMetadataService]:
    async with FakeMetadataService(behaviour=Behaviour(mock_like=request.param == "mock-like", sliding_time=False)) as service:
        yield service


@pytest.fixture
async def faithful() -> AsyncIterator[FakeMetadataService]:
    async with FakeMetadataService() as service:
        yield service


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Imds]]:
    """Clients of a service, with short time limits, closed at the end."""
    opened: list[Imds] = []

    def open_one(url: str, *, answer_seconds: float = 2.0) -> Imds:
        opened.append(Imds(url, connect_seconds=0.5, answer_seconds=answer_seconds))
        return opened[-1]

    yield open_one
    for imds in opened:
        await imds.close()
