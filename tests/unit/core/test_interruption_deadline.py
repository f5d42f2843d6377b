"""The deadline of each kind of notice, and that deadlines stay where they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.deadline import LEAST_SECONDS, InterruptionPolicy, corrected, due
from spotguard.core.interruption import advance
from spotguard.core.notice import Notice, NoticeKind, Sighting
from tests.unit.core.notice_world import EPOCH, POLICY, K, World, at


@pytest.mark.parametrize(
    ("kind", "seconds", "policy", "signals", "left"),
    [
        (K.TERMINATE, 120, POLICY, True, 115),
        (K.STOP, 120, POLICY, True, 115),
        (K.TERMINATE, 120, replace(POLICY, margin_seconds=20), True, 100),
        (K.HIBERNATE, 120, POLICY, False, 20),
        (K.HIBERNATE, 0, POLICY, False, 20),
        (K.REBALANCE, 0, replace(POLICY, on_rebalance="drain"), True, 120),
        (K.MAINTENANCE, 120, POLICY, True, 115),
        (K.MAINTENANCE, 40, POLICY, True, 35),
        (K.SCALE_IN, None, POLICY, True, 120),
        (K.SCALE_IN, None, replace(POLICY, scale_in_seconds=900), True, 900),
    ],
)
def test_each_notice_has_its_deadline_and_signals_whom_it_should(
    kind: NoticeKind, seconds: float | None, policy: InterruptionPolicy, signals: bool, left: float
) -> None:
    world = World(policy).poll((kind, seconds), after=0)
    assert (world.current.kind, world.current.signals_trainer, world.left) == (kind, signals, left)
    assert world.current.deadline_at == EPOCH + timedelta(seconds=left)
    assert world.current.detected_at == EPOCH
    assert not world.current.drill


def test_a_rebalance_under_checkpoint_is_advice_that_asks_for_a_save() -> None:
    world = World().poll((K.REBALANCE, -3))
    advice = world.watch.state.advice
    assert world.watch.state.current is None
    assert advice is not None
    assert (advice.kind, advice.asks_checkpoint, advice.deadline_at) == (K.REBALANCE, True, None)


def test_a_rebalance_under_ignore_is_not_there() -> None:
    world = World(replace(POLICY, on_rebalance="ignore")).poll((K.REBALANCE, -3))
    assert world.watch.state.current is world.watch.state.advice is None


def test_a_maintenance_is_shown_at_once_and_drains_from_two_minutes_before_even_when_blind() -> None:
    world = World().poll((K.MAINTENANCE, 600), after=0)
    advice = world.watch.state.advice
    assert world.watch.state.current is None
    assert advice is not None
    assert (advice.deadline_at, advice.asks_checkpoint) == (EPOCH + timedelta(seconds=595), False)
    assert world.watch.next_change == 1000 + 480
    assert world.blind(after=479.9).watch.state.current is None
    assert world.blind(after=0.1).left == 115
    assert world.watch.state.advice is None


def test_a_maintenance_that_is_put_off_while_only_announced_drains_at_its_new_time() -> None:
    world = World()
    world.see(Sighting((world.notice(K.MAINTENANCE, 300, "event-1"),)))
    world.see(Sighting((world.notice(K.MAINTENANCE, 900, "event-1"),)))
    assert world.blind(after=500).watch.state.current is None
    assert world.blind(after=281).left == pytest.approx(114)
    world.see(Sighting((world.notice(K.MAINTENANCE, 5000, "event-1"),)))
    assert world.left == pytest.approx(114), "once it drains it is not put off"


def test_a_maintenance_without_a_readable_time_never_drains() -> None:
    world = World().poll((K.MAINTENANCE, None)).blind(after=1e6)
    assert world.watch.state.current is None
    assert world.watch.state.advice is not None


def test_a_maintenance_that_is_over_lets_go_of_the_machine() -> None:
    world = World().poll((K.MAINTENANCE, 60)).poll((K.MAINTENANCE, 60), after=200)
    assert world.current.kind is K.MAINTENANCE
    world.poll().poll()
    assert world.watch.state.current is None
    assert [ended.withdrawn for ended in world.watch.ended] == [False]


@pytest.mark.parametrize("skew", [-86400.0, -600.0, 600.0, 86400.0])
def test_a_wrong_local_clock_changes_nothing(skew: float) -> None:
    world, right = World(skew=skew).poll((K.TERMINATE, 120)), World().poll((K.TERMINATE, 120))
    assert world.current == right.current


@pytest.mark.parametrize("skew", [-1.5, 0.4, 1.0])
def test_a_local_clock_within_the_resolution_of_date_counts_as_right(skew: float) -> None:
    assert corrected(EPOCH + timedelta(seconds=skew), at(0)) == EPOCH + timedelta(seconds=skew)


@pytest.mark.parametrize("seconds", [5.1, 5, 3, 0, -30, -86400])
def test_a_notice_that_is_late_or_past_still_drains_for_a_moment(seconds: float) -> None:
    world = World().poll((K.TERMINATE, seconds), after=0)
    assert world.left == pytest.approx(LEAST_SECONDS)
    assert world.current.deadline_at == EPOCH + timedelta(seconds=LEAST_SECONDS)


def test_a_late_notice_leaves_what_is_left() -> None:
    assert World().poll((K.TERMINATE, 30), after=0).left == 25


def test_a_sliding_time_never_moves_the_deadline_nor_makes_a_second_interruption() -> None:
    world = World().poll((K.TERMINATE, 120), after=0)
    first = world.current
    for _ in range(60):
        world.poll((K.TERMINATE, world.now + 125))
        assert world.current == first


def test_an_earlier_time_moves_the_deadline_earlier_and_keeps_the_id() -> None:
    world = World().poll((K.TERMINATE, 120), after=0)
    first = world.current
    world.poll((K.TERMINATE, 60))
    assert (world.current.id, world.left, world.current.time) == (first.id, 50, EPOCH + timedelta(seconds=60))
    assert world.current.deadline_at == EPOCH + timedelta(seconds=55)
    assert world.current.detected_at == first.detected_at


def test_the_cut_off_fractions_of_date_move_nothing() -> None:
    world = World()
    for fraction in (0.2, 0.9, 0.4, 0.0):
        world.watch = advance(
            world.watch,
            Sighting((Notice(K.TERMINATE, at(120), at(int(world.now)), "", "x"),)),
            now=1000 + world.now + fraction,
            wall=world.wall,
            policy=POLICY,
        )
        world.now += 5
    assert world.current.deadline == 1000 + 0.2 + 115


def test_a_changed_action_keeps_the_earlier_deadline_and_changes_the_kind() -> None:
    world = World().poll((K.STOP, 100), after=0)
    first = world.current
    world.poll((K.TERMINATE, 300))
    assert world.current == replace(first, kind=K.TERMINATE, text="terminate")
    world.poll((K.HIBERNATE, 300))
    assert (world.current.kind, world.current.signals_trainer, world.left) == (K.HIBERNATE, False, 20)


@given(st.integers(-1000, 1000), st.floats(0, 100))
def test_a_deadline_keeps_its_margin_and_is_never_over_at_first_sight(seconds: int, margin: float) -> None:
    notice = Notice(K.TERMINATE, at(seconds), at(0))
    times = due(notice, now=50.0, policy=replace(POLICY, margin_seconds=margin))
    assert times.deadline >= 50 + LEAST_SECONDS
    assert times.deadline <= max(50 + seconds - margin, 50 + LEAST_SECONDS) + 1e-6
