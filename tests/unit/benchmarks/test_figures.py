"""What is made of the notes of a measurement."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import cap, page_cache, share
from benchmarks.arrivals import Arrivals

RATE = 1000.0


def evenly(rate: float, start: float, seconds: float) -> list[tuple[float, int]]:
    return [(start + (n + 0.5) / 100, round(rate / 100)) for n in range(round(seconds * 100))]


def test_a_cap_that_holds_is_told_as_such_and_so_is_the_moment_it_was_lifted() -> None:
    arrivals = Arrivals([*evenly(RATE, 5.0, 11.02), *evenly(4 * RATE, 16.02, 1.0)])

    told = cap.figures(arrivals, 6.0, 16.0, RATE)

    assert told["percent_of_cap"] == pytest.approx(100.0)
    assert told["tenths_deviation_percent"] == pytest.approx(0.0, abs=0.01)
    assert 5 <= told["lifted_ms"] <= 25


def test_a_cap_that_lets_through_too_much_in_bursts_is_seen() -> None:
    bursts = [(6.05 + n, int(1.5 * RATE)) for n in range(11)]

    told = cap.figures(Arrivals(bursts), 6.0, 16.0, RATE)

    assert told["percent_of_cap"] == pytest.approx(150.0)
    assert told["tenths_deviation_percent"] > 100


def test_a_cap_that_is_never_lifted_is_not_called_quick() -> None:
    assert cap.figures(Arrivals(evenly(RATE, 5.0, 12.0)), 6.0, 16.0, RATE)["lifted_ms"] == float("inf")


def test_what_a_trainer_loses_is_beside_the_windows_before_and_after() -> None:
    steps = [(100.0, 95.0), (102.0, 97.0), (104.0, 10.0), (106.0, 100.0)]  # one pair was disturbed by something else
    windows = [
        share.Pair(share.Pace(alone, 2.0), share.Pace(beside, 1.9), cpu=0.07, endpoint_cpu=0.02, sent=125e6) for alone, beside in steps
    ]

    told = share.figures(windows)

    assert told["loss_percent"] == pytest.approx(100 * (1 - 95 / 101))
    assert told["processor_loss_percent"] == pytest.approx(5.0)
    assert told["megabits"] == pytest.approx(1000.0)
    assert told["cpu_percent"] == pytest.approx(7.0)


def test_the_page_cache_is_asked(tmp_path: Path) -> None:
    written = tmp_path / "written"
    written.write_bytes(os.urandom(1 << 20))
    try:
        assert page_cache.cached_percent(written) == 100.0
    except OSError as error:
        pytest.skip(f"this kernel does not tell: {error}")
