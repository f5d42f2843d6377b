"""What would be lost now, from what earlier saves and uploads took."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.exposure import Link, Save, expose, flush_seconds, longest_fitting, outlook, save_seconds, steps_at_risk
from spotguard.core.phrasing import at_least_every, at_least_rate, in_gigabytes, in_seconds
from spotguard.core.status import ExposureStatus

GB = 1_000_000_000


def saves(*steps_and_ends: tuple[int | None, float], seconds: float = 20.0, size: int = 10 * GB) -> list[Save]:
    return [Save(end - seconds, end, size, step) for step, end in steps_and_ends]


def exposed(known: list[Save], *, link: Link, now: float = 1000.0, training: bool = True) -> ExposureStatus:
    return expose(known, size=10 * GB, link=link, now=now, since_last_commit=42.04, training=training, seconds_left=115.0)


def test_all_of_it_from_measured_times() -> None:
    known = saves((100, 400.0), (200, 700.0), (300, 900.0))
    assert exposed(known, link=Link(500e6)) == ExposureStatus(
        seconds_since_last_commit=42.0,
        steps_at_risk_estimate=pytest.approx(100 * (100 / 300 + 100 / 200) / 2, abs=0.01),
        save_seconds_estimate=20.0,
        flush_seconds_estimate=21.0,
        fits_in_notice=True,
        longest_fitting_bytes=int(94 * 500e6),
    )


def test_what_was_never_measured_is_null() -> None:
    nothing = expose([], size=0, link=Link(), now=0, since_last_commit=None, training=True, seconds_left=115)
    assert nothing == ExposureStatus()


def test_under_a_cap_that_held_it_back_it_may_be_said_to_fit_but_not_that_it_does_not() -> None:
    known = saves((100, 400.0))
    assert exposed(known, link=Link(None, at_least=500e6)).fits_in_notice is True
    assert exposed(known, link=Link(None, at_least=10e6)).fits_in_notice is None
    assert exposed(known, link=Link(10e6, at_least=10e6)).fits_in_notice is False


def test_without_a_trainer_no_step_comes_to_be_at_risk() -> None:
    assert exposed(saves((100, 400.0), (200, 700.0)), link=Link(), training=False).steps_at_risk_estimate is None


def test_a_step_that_went_backwards_tells_no_pace() -> None:
    assert steps_at_risk(saves((900, 100.0), (100, 200.0)), now=300) is None
    assert steps_at_risk(saves((900, 100.0), (100, 200.0), (110, 300.0)), now=400) == pytest.approx(10)
    assert steps_at_risk(saves((None, 100.0), (None, 200.0)), now=300) is None
    assert steps_at_risk(saves((100, 100.0), (200, 200.0)), now=150) == 0


def test_one_slow_save_of_five_decides_nothing() -> None:
    known = [Save(0, seconds, 1, None) for seconds in (900, 10, 11, 600, 12, 10)]
    assert save_seconds(known) == 11


sizes = st.integers(1, 10**12)
rates = st.floats(1e3, 1e11)
times = st.floats(0, 600)


@given(sizes, rates, times, st.floats(0, 300))
def test_it_fits_exactly_when_saving_and_sending_take_no_longer_than_there_is(size: int, rate: float, left: float, save: float) -> None:
    ahead = outlook(size, [Save(0, save, size, None)], rate, left)
    flush = flush_seconds(size, rate)
    assert ahead is not None
    assert flush is not None
    assert ahead.fits == (save + flush <= left)


@given(rates, times)
def test_the_longest_that_fits_does_and_a_tenth_more_does_not(rate: float, left: float) -> None:
    longest = longest_fitting(left, rate)
    assert longest is not None
    if longest > 100:
        assert (flush_seconds(longest, rate) or 0) <= left * (1 + 1e-9)
        assert (flush_seconds(int(longest * 1.1), rate) or 0) > left


@given(sizes, rates, times, st.floats(0, 300))
def test_the_way_out_would_do(size: int, rate: float, left: float, save: float) -> None:
    ahead = outlook(size, [Save(0, save, size, None)], rate, left)
    assert ahead is not None
    if ahead.fits:
        return
    _, _, or_else = ahead.way_out.partition(", or ")
    if or_else:
        number, unit = or_else.split()
        faster = float(number) * {"Gbit/s": 1e9, "Mbit/s": 1e6}[unit] / 8
        again = outlook(size, [Save(0, save, size, None)], faster * (1 + 1e-9), left)
        assert again is not None
        assert again.needed_seconds <= left + 1e-6
    else:
        assert save + 1 >= left


@pytest.mark.parametrize(
    ("said", "is_"),
    [
        (in_gigabytes(80e9), "80 GB"),
        (in_gigabytes(1.44e9), "1.4 GB"),
        (in_gigabytes(2e9), "2 GB"),
        (in_gigabytes(12_345_678), "12 MB"),
        (in_gigabytes(500), "500 B"),
        (in_seconds(0.04), "40 ms"),
        (in_seconds(0), "0 ms"),
        (in_seconds(31.2), "31 s"),
        (in_seconds(1.26), "1.3 s"),
        (in_seconds(2.0), "2 s"),
        (in_seconds(0.9999), "1 s"),
        (at_least_every(256), "5 min"),
        (at_least_every(41), "45 s"),
        (at_least_every(2), "2 s"),
        (at_least_every(7200), "2 h"),
        (at_least_rate(80e9 / 114), "6 Gbit/s"),
        (at_least_rate(200e6), "1.6 Gbit/s"),
        (at_least_rate(30e6), "240 Mbit/s"),
        (at_least_rate(1e6), "8 Mbit/s"),
    ],
)
def test_amounts_in_words(said: str, is_: str) -> None:
    assert said == is_


@given(st.floats(0.1, 1e6))
def test_at_least_is_never_less(amount: float) -> None:
    number, unit = at_least_every(amount).split()
    assert float(number) * {"s": 1, "min": 60, "h": 3600}[unit] >= amount * (1 - 1e-9)
    number, unit = at_least_rate(amount * 1e5).split()
    assert float(number) * {"Gbit/s": 1e9, "Mbit/s": 1e6}[unit] / 8 >= amount * 1e5 * (1 - 1e-9)
