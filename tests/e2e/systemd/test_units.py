"""The shipped units as systemd itself reads them: no unknown key, no missing unit, and well confined."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parents[3] / "systemd").rglob("*.service"))

pytestmark = [
    pytest.mark.needs_systemd,
    pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing (apt: systemd)"),
]


@pytest.fixture
def folder_of_units(tmp_path: Path) -> Path:
    """All units in one folder, with a program that exists on this machine in place of the installed one."""
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace("/usr/local/bin/spotguard", sys.executable))
    return tmp_path


@pytest.mark.parametrize("unit", [unit.name for unit in UNITS])
def test_a_unit_has_nothing_that_systemd_does_not_know(folder_of_units: Path, unit: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(folder_of_units / unit)], capture_output=True, text=True, timeout=50, check=False
    )
    ours = [line for line in done.stderr.splitlines() if str(folder_of_units) in line or unit in line]  # not the host's own units
    assert ours == []
    assert done.returncode == 0


def test_the_daemon_is_confined(folder_of_units: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(folder_of_units / "spotguard.service")],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout
