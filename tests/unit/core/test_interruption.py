"""What ends an interruption, which of several is the current one, drills, and what must hold whatever the service says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotguard.core.interruption import begin_drill, end_drill
from spotguard.core.notice import NoticeKind
from tests.unit.core.notice_world import EPOCH, POLICY, K, World


def test_two_answered_polls_without_it_withdraw_a_notice_before_its_time() -> None:
    world = World().poll((K.TERMINATE, 120)).poll()
    assert world.current.kind is K.TERMINATE
    world.poll()
    assert world.watch.state.current is None
    assert [(ended.withdrawn, ended.drained) for ended in world.watch.ended] == [(True, True)]
    assert world.blind().watch.ended == ()


def test_one_poll_without_it_and_then_with_it_again_withdraws_nothing() -> None:
    world = World().poll((K.TERMINATE, 120))
    first = world.current
    for _ in range(5):
        world.poll().poll((K.TERMINATE, 120))
        assert world.current == first


def test_polls_that_fail_withdraw_nothing_and_are_not_counted() -> None:
    world = World().poll((K.TERMINATE, 120))
    first = world.current
    world.blind().blind().blind().poll().blind().blind()
    assert world.current == first
    assert world.poll().watch.state.current is None


def test_a_source_that_did_not_answer_withdraws_nothing() -> None:
    world = World().poll((K.SCALE_IN, None))
    first = world.current
    for _ in range(5):
        world.poll(silent=frozenset({K.SCALE_IN}))
    assert world.current == first


@pytest.mark.parametrize("kind", [K.TERMINATE, K.STOP])
def test_a_notice_whose_time_is_over_is_not_withdrawn(kind: NoticeKind) -> None:
    world = World().poll((kind, 60))
    first = world.current
    world.poll(after=100).poll().poll()
    assert world.current == first
    assert world.watch.ended == ()


def test_a_new_notice_after_one_that_came_and_went_is_a_new_interruption() -> None:
    world = World().poll((K.TERMINATE, 60)).poll(after=100).poll().poll()
    old = world.current
    world.poll((K.TERMINATE, 1000), after=0)
    assert world.current.id != old.id
    assert world.left == 1000 - world.now - 5


def test_a_machine_that_wakes_from_hibernation_watches_on() -> None:
    world = World().poll((K.HIBERNATE, 0)).poll(after=3600).poll()
    assert world.watch.state.current is None
    assert not world.watch.ended[0].withdrawn


def test_a_scale_in_that_is_called_off_is_over() -> None:
    world = World().poll((K.SCALE_IN, None)).poll(after=500)
    assert world.current.kind is K.SCALE_IN
    assert world.poll().watch.state.current is None


def test_a_rebalance_together_with_a_notice_is_the_notice() -> None:
    for policy in (POLICY, replace(POLICY, on_rebalance="drain")):
        world = World(policy).poll((K.REBALANCE, 0), (K.TERMINATE, 400))
        assert world.current.kind is K.TERMINATE


def test_a_notice_after_a_rebalance_that_drains_takes_its_place_and_its_own_deadline() -> None:
    world = World(replace(POLICY, on_rebalance="drain")).poll((K.REBALANCE, 0), after=0)
    world.poll((K.REBALANCE, 0), (K.TERMINATE, 220), after=100)
    assert (world.current.kind, world.left) == (K.TERMINATE, 115)


def test_the_nearest_deadline_is_the_current_one() -> None:
    world = World().poll((K.SCALE_IN, None), (K.TERMINATE, 60))
    assert world.current.kind is K.TERMINATE
    world = World(replace(POLICY, scale_in_seconds=30)).poll((K.SCALE_IN, None), (K.TERMINATE, 90))
    assert world.current.kind is K.SCALE_IN


def test_a_deadline_that_is_over_gives_way_to_one_that_is_to_come_and_never_comes_back() -> None:
    world = World(replace(POLICY, scale_in_seconds=30)).poll((K.SCALE_IN, None))
    world.poll((K.SCALE_IN, None), (K.TERMINATE, 160), after=40)
    assert world.current.kind is K.TERMINATE
    assert world.poll((K.SCALE_IN, None), (K.TERMINATE, 160), after=300).current.kind is K.TERMINATE


def test_the_id_is_the_same_in_the_next_process_that_sees_the_notice() -> None:
    for told in ((K.TERMINATE, 120), (K.SCALE_IN, None), (K.MAINTENANCE, 100)):
        first = World(skew=7).poll(told)  # type: ignore[arg-type]
        second = World().poll(told, after=40)  # type: ignore[arg-type]
        assert first.current.id == second.current.id
    assert World().poll((K.TERMINATE, 120)).current.id != World().poll((K.TERMINATE, 121)).current.id


def test_a_drill_looks_like_a_notice_and_signals_only_if_asked() -> None:
    world = World()
    world.watch = begin_drill(world.watch, seconds=60, signals_trainer=False, now=1000, wall=EPOCH, policy=POLICY)
    assert (world.current.drill, world.current.kind, world.left, world.current.signals_trainer) == (True, K.TERMINATE, 55, False)
    assert world.poll().poll().poll().current.drill, "polls do not withdraw a drill"
    world.watch = end_drill(world.watch, now=1000 + world.now, policy=POLICY)
    assert world.watch.state.current is None
    assert len(world.watch.ended) == 1


def test_a_drill_that_nobody_ends_ends_itself() -> None:
    world = World()
    world.watch = begin_drill(world.watch, seconds=60, signals_trainer=True, now=1000, wall=EPOCH, policy=POLICY)
    assert world.current.signals_trainer
    assert world.blind(after=74.9).watch.state.current is not None
    assert world.blind(after=0.1).watch.state.current is None


def test_what_is_real_ends_a_drill_and_no_drill_begins_meanwhile() -> None:
    world = World()
    world.watch = begin_drill(world.watch, seconds=60, signals_trainer=False, now=1000, wall=EPOCH, policy=POLICY)
    world.poll((K.TERMINATE, 300))
    assert not world.current.drill
    assert world.current.deadline == 1000 + 295
    before = world.watch
    assert begin_drill(before, seconds=9, signals_trainer=True, now=1010, wall=EPOCH, policy=POLICY) is before


SEEN = st.one_of(
    st.none(),
    st.lists(
        st.tuples(st.sampled_from(list(NoticeKind)), st.one_of(st.none(), st.integers(-200, 400))), max_size=3, unique_by=lambda x: x[0]
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 60), SEEN), max_size=14), st.sampled_from(["ignore", "checkpoint", "drain"]), st.floats(-1e6, 1e6))
def test_whatever_comes_deadlines_only_move_earlier_and_nothing_drains_without_a_notice(
    polls: list[tuple[float, list[tuple[NoticeKind, float | None]] | None]], on_rebalance: str, skew: float
) -> None:
    world = World(replace(POLICY, on_rebalance=on_rebalance), skew=skew)  # type: ignore[arg-type]
    sighted: set[NoticeKind] = set()
    for after, seen in polls:
        told = seen and [(kind, 0 if seconds is None and kind in (K.TERMINATE, K.STOP) else seconds) for kind, seconds in seen]
        before = {track.interruption.id: track for track in world.watch.tracks}
        spot_seen_twice = told and sum(kind in (K.TERMINATE, K.STOP, K.HIBERNATE) for kind, _ in told) > 1
        if spot_seen_twice:
            continue  # the service has one document for the three
        sighted |= {kind for kind, _ in told or ()}
        world.blind(after) if told is None else world.poll(*told, after=after)
        current = world.watch.state.current
        if current:
            assert current.kind in sighted
            assert not (current.kind is K.REBALANCE and on_rebalance != "drain")
        for track in world.watch.tracks:
            known = before.get(track.interruption.id)
            if known and known.drains and not known.gone:
                assert track.interruption.deadline <= known.interruption.deadline
        if told is None:
            assert {t.source for t in world.watch.tracks} == {t.source for t in before.values()}, "blindness drops nothing"
