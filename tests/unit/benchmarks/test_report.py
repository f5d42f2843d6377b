"""The table says what the runs were, and nothing that was measured is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import report

UPLOADS = [
    {"contender": name, "mb_per_second": rate, "cpu_per_gb": cpu, "peak_mib": 20.0, "seconds": 1.0}
    for name, rate, cpu in [
        ("spotguard", 900.0, 0.5),
        ("s5cmd", 500.0, 2.0),
        ("sendfile", 1000.0, 0.25),
        ("spotguard", 700.0, 0.9),
        ("s5cmd", 300.0, 1.0),
        ("spotguard", 100.0, 0.7),
        ("sendfile", 2000.0, 0.35),
    ]
]


def test_a_median_is_of_the_contenders_own_runs() -> None:
    told = report.medians(UPLOADS)

    assert told["spotguard"] == {"mb_per_second": 700.0, "cpu_per_gb": 0.7, "peak_mib": 20.0, "seconds": 1.0}
    assert told["s5cmd"]["mb_per_second"] == 400.0
    assert list(told) == ["spotguard", "s5cmd", "sendfile"]


def test_ratios_are_of_medians() -> None:
    told = report.ratios_of(report.medians(UPLOADS))

    assert told["spotguard"] == pytest.approx({"× s5cmd": 700 / 400, "CPU × s5cmd": 0.7 / 1.5, "× sendfile": 700 / 1500})
    assert told["s5cmd"]["× s5cmd"] == 1.0


def test_there_is_no_ratio_to_who_did_not_run() -> None:
    alone = [run for run in UPLOADS if run["contender"] == "spotguard"]

    assert report.ratios_of(report.medians(alone)) == {}
    assert report.table("Upload", "abc", alone)[2] == "|  | MB/s | CPU s per GB | peak MiB |"


def test_a_row_has_median_spread_and_ratios() -> None:
    lines = report.table("Upload", "abc", UPLOADS)

    assert lines[0] == "**Upload** (runs each: 2, commit abc)"
    assert lines[2] == "|  | MB/s | CPU s per GB | peak MiB | × s5cmd | CPU × s5cmd | × sendfile |"
    assert lines[4] == "| spotguard | 700 (100–900) | 0.70 (0.50–0.90) | 20 | 1.75 | 0.47 | 0.47 |"
    assert [line.split(" |")[0] for line in lines[5:7]] == ["| sendfile", "| s5cmd"]  # the fastest first


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "RUNS", tmp_path / "runs.json")
    return tmp_path / "runs.json"


def test_what_was_measured_before_a_failure_is_kept(runs: Path) -> None:
    with pytest.raises(RuntimeError), report.recording("idle", add=False) as record:  # noqa: PT012 - it fails in the middle
        record("spotguard", {"ms": 1.0})
        raise RuntimeError

    assert json.loads(runs.read_text())["groups"]["idle"]["runs"] == [{"contender": "spotguard", "ms": 1.0}]


def test_a_group_that_measured_nothing_takes_nothing_away(runs: Path) -> None:
    with report.recording("idle", add=False) as record:
        record("spotguard", {"ms": 1.0})
    before = runs.read_text()

    with pytest.raises(RuntimeError), report.recording("idle", add=False):
        raise RuntimeError

    assert runs.read_text() == before


def test_a_new_measurement_replaces_the_old_one_unless_it_is_added(runs: Path) -> None:
    for add, value in ((False, 1.0), (False, 2.0), (True, 3.0)):
        with report.recording("idle", add=add) as record:
            record("spotguard", {"ms": value})

    assert [run["ms"] for run in json.loads(runs.read_text())["groups"]["idle"]["runs"]] == [2.0, 3.0]
