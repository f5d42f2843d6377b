from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spotguard.demo.metadata_process import MetadataProcess
from tests.e2e.run.run_machine import RunMachine
from tests.support.servers import Endpoint, moto


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Endpoint]:
    with moto.running() as running:
        yield running


@pytest.fixture
def machine(endpoint: Endpoint, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RunMachine]:
    with RunMachine(endpoint, tmp_path, f"b{abs(hash(request.node.nodeid)):x}") as started:
        yield started


@pytest.fixture
def metadata() -> Iterator[MetadataProcess]:
    with MetadataProcess() as service:
        yield service
