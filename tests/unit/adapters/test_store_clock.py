"""How far the local clock is from the store's, also while it is being set."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from spotguard.adapters.s3.clock import StoreClock


class Clocks:
    """The true time runs; the local wall clock shows it with an error."""

    def __init__(self, error: float = 0.0) -> None:
        self.true = 1_800_000_000.0
        self.error = error

    def store_clock(self) -> StoreClock:
        return StoreClock(now=lambda: self.true + self.error, monotonic=lambda: self.true - 1_799_999_000.0)

    def answer(self) -> dict[str, str]:
        return {"date": formatdate(self.true, usegmt=True)}


def test_a_right_clock_has_no_offset_and_before_any_answer_nothing_is_known() -> None:
    clocks = Clocks()
    clock = clocks.store_clock()
    assert clock.offset is None
    clock.observe(clocks.answer())
    assert clock.offset == 0.0


@pytest.mark.parametrize("error", [-400.0, 400.0])
def test_a_clock_that_is_set_is_followed_before_the_next_answer(error: float) -> None:
    clocks = Clocks(error)
    clock = clocks.store_clock()
    clock.observe(clocks.answer())
    assert clock.offset == pytest.approx(-error, abs=2)
    clocks.error = 0.0
    clocks.true += 10
    assert clock.offset == pytest.approx(0, abs=2)
    assert clock.store_now() == pytest.approx(clocks.true, abs=2)
    clock.observe(clocks.answer())
    assert clock.offset == pytest.approx(0, abs=2)


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}])
def test_nonsense_changes_nothing(headers: dict[str, str]) -> None:
    clocks = Clocks(400.0)
    clock = clocks.store_clock()
    clock.observe(clocks.answer())
    known = clock.offset
    clock.observe(headers)
    assert clock.offset == known
