from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.backoff import RetryPolicy, pause

DICE = st.floats(0, 1)
POLICY = RetryPolicy(attempts=4, base_seconds=0.5, cap_seconds=3.0)


@given(failures=st.integers(1, 3), dice=DICE)
def test_a_pause_is_drawn_from_a_ceiling_that_doubles_up_to_the_cap(failures: int, dice: float) -> None:
    assert pause(POLICY, failures, dice, None) == dice * [0.5, 1.0, 2.0][failures - 1]
    assert pause(RetryPolicy(10_000), 9_999, dice, None) == dice * 5.0


def test_without_a_deadline_the_attempts_decide() -> None:
    assert pause(POLICY, 3, 0.5, None) is not None
    assert pause(POLICY, 4, 0.5, None) is None


@given(failures=st.integers(1, 10_000), dice=DICE, left=st.floats(0.02, 200))
def test_under_a_deadline_there_is_always_time_for_one_more_attempt(failures: int, dice: float, left: float) -> None:
    wait = pause(POLICY, failures, dice, left)
    assert wait is not None
    assert 0 <= wait <= left / 2


@given(failures=st.integers(1, 10_000), dice=DICE, left=st.floats(-200, 0.01))
def test_at_the_deadline_it_is_over(failures: int, dice: float, left: float) -> None:
    assert pause(POLICY, failures, dice, left) is None
