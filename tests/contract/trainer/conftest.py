from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.trainer.worlds import (
    ContainerElsewhereWorld,
    ContainerWorld,
    MemoryWorld,
    PidFileWorld,
    RegexWorld,
    SystemdWorld,
    World,
    path_with,
)
from tests.support.real_processes import RealProcesses, real_processes

_REAL = {
    "regex": RegexWorld,
    "pid-file": PidFileWorld,
    "systemd": SystemdWorld,
    "container": ContainerWorld,
    "container-elsewhere": ContainerElsewhereWorld,
}


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[RealProcesses]:
    with real_processes(tmp_path) as started:
        yield started


@pytest.fixture(params=["memory", *_REAL])
def world(request: pytest.FixtureRequest, processes: RealProcesses, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    monkeypatch.setenv("PATH", path_with(tmp_path))
    return MemoryWorld() if request.param == "memory" else _REAL[request.param](processes)
