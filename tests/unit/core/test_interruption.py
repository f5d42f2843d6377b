"""The table of DESIGN.md section 7, row by row, and what must hold whatever the metadata service says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotguard.core.deadline import LEAST_SECONDS, InterruptionPolicy, corrected, due
from spotguard.core.interruption import Interruption, InterruptionWatch, advance, begin_drill, end_drill
from spotguard.core.notice import Notice, NoticeKind, Sighting

EPOCH = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
POLICY = InterruptionPolicy()
K = NoticeKind


def at(seconds: float) -> float:
    """A moment of the service's clock, seconds after the beginning of the test."""
    return EPOCH.timestamp() + seconds


@dataclass
class World:
    """A service and a daemon whose monotonic clock begins at 1000; `skew` is how far the local wall clock is ahead."""

    policy: InterruptionPolicy = POLICY
    skew: float = 0.0
    now: float = 0.0
    watch: InterruptionWatch = field(default_factory=InterruptionWatch)

    def notice(self, kind: NoticeKind, seconds: float | None, reference: str = "") -> Notice:
        told = None if seconds is None else at(seconds)
        return Notice(kind, told, at(self.now), kind.value, reference or f"{kind.value} {seconds}")

    def poll(self, *told: tuple[NoticeKind, float | None], after: float = 5.0, silent: frozenset[NoticeKind] = frozenset()) -> World:
        self.now += after
        return self.see(Sighting(tuple(self.notice(kind, seconds) for kind, seconds in told), silent))

    def blind(self, after: float = 5.0) -> World:
        self.now += after
        return self.see(None)

    def see(self, sighting: Sighting | None) -> World:
        self.watch = advance(self.watch, sighting, now=1000 + self.now, wall=self.wall, policy=self.policy)
        return self

    @property
    def wall(self) -> datetime:
        return EPOCH + timedelta(seconds=self.now + self.skew)

    @property
    def current(self) -> Interruption:
        assert self.watch.state.current is not None
        return self.watch.state.current

    @property
    def left(self) -> float:
        return self.current.deadline - (1000 + self.now)


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
@given(
    st.lists(st.tuples(st.floats(0, 60), SEEN), max_size=14), st.sampled_from(["ignore", "checkpoint", "drain"]), st.floats(-1e6, 1e6)
)
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


@given(st.integers(-1000, 1000), st.floats(0, 100))
def test_a_deadline_keeps_its_margin_and_is_never_over_at_first_sight(seconds: int, margin: float) -> None:
    notice = Notice(K.TERMINATE, at(seconds), at(0))
    times = due(notice, now=50.0, policy=replace(POLICY, margin_seconds=margin))
    assert times.deadline >= 50 + LEAST_SECONDS
    assert times.deadline <= max(50 + seconds - margin, 50 + LEAST_SECONDS) + 1e-6
