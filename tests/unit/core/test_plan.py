"""What the plan promises, whatever the world looks like."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.checkpoint import Order
from spotguard.core.plan import COMMIT_SECONDS, Pending, World, plan

STAGES = st.sampled_from(["", "sft", "rl/a"])


@st.composite
def pendings(draw: st.DrawFn) -> tuple[Pending, ...]:
    count = draw(st.integers(0, 8))
    return tuple(
        Pending(
            name=f"{stage}/checkpoint-{number}",
            stage=stage,
            order=Order(draw(st.integers(0, 50)), number, 1),
            bytes_left=draw(st.integers(0, 10_000)),
            begun=draw(st.booleans()),
        )
        for number, stage in ((number, draw(STAGES)) for number in range(count))
    )


def newest(pending: tuple[Pending, ...]) -> Pending:
    return max(pending, key=lambda p: (p.order, p.name))


def of_stage(pending: tuple[Pending, ...], stage: str) -> tuple[Pending, ...]:
    return tuple(p for p in pending if p.stage == stage)


@given(pendings())
def test_in_peace_everything_is_sent_or_superseded_and_never_both(pending: tuple[Pending, ...]) -> None:
    decided = plan(World(pending))
    superseded = {given_up.name for given_up in decided.superseded}
    assert superseded.isdisjoint(decided.send)
    assert superseded | set(decided.send) == {p.name for p in pending}


@given(pendings())
def test_the_newest_and_the_oldest_of_a_stage_and_what_has_begun_are_never_superseded(pending: tuple[Pending, ...]) -> None:
    superseded = {given_up.name for given_up in plan(World(pending)).superseded}
    for stage in {p.stage for p in pending}:
        members = of_stage(pending, stage)
        assert newest(members).name not in superseded
        assert min(members, key=lambda p: (p.order, p.name)).name not in superseded
    assert not superseded & {p.name for p in pending if p.begun}


@given(pendings())
def test_in_peace_what_has_begun_goes_on_and_then_the_newest_is_next(pending: tuple[Pending, ...]) -> None:
    by_name = {p.name: p for p in pending}
    sent = [by_name[name] for name in plan(World(pending)).send]
    assert [p.begun for p in sent] == sorted((p.begun for p in sent), reverse=True)
    waiting = [p for p in sent if not p.begun]
    assert waiting == sorted(waiting, key=lambda p: (p.order, p.name), reverse=True)


@given(pendings())
def test_a_single_pass_gives_nothing_up(pending: tuple[Pending, ...]) -> None:
    decided = plan(World(pending, keep_all=True))
    assert decided.superseded == ()
    assert set(decided.send) == {p.name for p in pending}


@given(pendings(), st.integers(1, 5_000), st.floats(0, 30))
def test_in_a_drain_nothing_is_dropped_without_a_name(pending: tuple[Pending, ...], rate: int, left: float) -> None:
    decided = plan(World(pending, seconds_left=left, bytes_per_second=rate))
    assert set(decided.send) == {p.name for p in pending}
    assert {misfit.name for misfit in decided.does_not_fit} <= set(decided.send)


@given(pendings(), st.integers(1, 5_000), st.floats(0, 30))
def test_in_a_drain_the_newest_that_fits_is_sent_in_time(pending: tuple[Pending, ...], rate: int, left: float) -> None:
    decided = plan(World(pending, seconds_left=left, bytes_per_second=rate))
    fitting = [p for p in pending if p.bytes_left / rate + COMMIT_SECONDS <= left]
    if not fitting:
        return
    best = newest(tuple(fitting))
    by_name = {p.name: p for p in pending}
    needed = 0.0
    for name in decided.send:
        needed += by_name[name].bytes_left / rate + COMMIT_SECONDS
        if name == best.name:
            break
    assert needed <= left + 1e-6


@given(pendings(), st.floats(0, 30))
def test_in_a_drain_without_a_measurement_the_newest_goes_first(pending: tuple[Pending, ...], left: float) -> None:
    decided = plan(World(pending, seconds_left=left))
    if pending:
        assert decided.send[0] == newest(pending).name
    assert decided.does_not_fit == ()


@given(pendings(), STAGES, st.integers(0, 60))
def test_in_a_drain_older_than_a_committed_one_of_its_stage_is_given_up_and_newer_never(
    pending: tuple[Pending, ...], stage: str, saved_at: int
) -> None:
    committed = Order(saved_at, 10**6, 1)
    decided = plan(World(pending, newest_committed=((stage, committed),), seconds_left=60))
    for given_up in decided.superseded:
        member = next(p for p in pending if p.name == given_up.name)
        assert member.stage == stage
        assert member.order < committed
    assert all(p.name in decided.send for p in pending if p.stage != stage or p.order > committed)


def test_the_middle_one_of_three_is_superseded_for_the_newest() -> None:
    world = World(tuple(Pending(f"checkpoint-{n}", "", Order(n, n, 1), 100, begun=n == 1) for n in (1, 2, 3)))
    decided = plan(world)
    assert decided.send == ("checkpoint-1", "checkpoint-3")
    assert [(g.name, g.why) for g in decided.superseded] == [("checkpoint-2", "given up for the newer checkpoint-3")]


def test_of_two_that_do_not_both_fit_the_newer_goes_and_the_other_is_named() -> None:
    older = Pending("a/checkpoint-1", "a", Order(1, 1, 1), 6_000)
    newer = Pending("b/checkpoint-2", "b", Order(2, 2, 1), 6_000)
    decided = plan(World((older, newer), seconds_left=10, bytes_per_second=1_000))
    assert decided.send == ("b/checkpoint-2", "a/checkpoint-1")
    assert [g.name for g in decided.does_not_fit] == ["a/checkpoint-1"]


def test_an_almost_done_one_of_another_stage_is_finished_first_when_both_fit() -> None:
    almost = Pending("a/checkpoint-1", "a", Order(1, 1, 1), 100, begun=True)
    newer = Pending("b/checkpoint-2", "b", Order(2, 2, 1), 6_000)
    assert plan(World((almost, newer), seconds_left=60, bytes_per_second=1_000)).send == ("a/checkpoint-1", "b/checkpoint-2")
