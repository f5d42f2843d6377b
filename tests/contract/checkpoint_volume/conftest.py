from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.checkpoint_volume.worlds import DiskWorld, MemoryWorld, World


@pytest.fixture(params=["disk", "memory"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made: World = DiskWorld(tmp_path / "root") if request.param == "disk" else MemoryWorld()
    yield made
    made.close()
