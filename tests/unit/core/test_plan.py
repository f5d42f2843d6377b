"""What the plan promises, whatever the world looks like."""

from __future__ import annotations

from dataclasses import replace

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


RATES = st.integers(1, 5_000)
TIMES = st.floats(0, 30)


def seconds(p: Pending, rate: float) -> float:
    return p.bytes_left / rate + COMMIT_SECONDS


def not_begun(pending: tuple[Pending, ...]) -> tuple[Pending, ...]:
    return tuple(replace(p, begun=False) for p in pending)


def fits(pending: tuple[Pending, ...], rate: float, left: float) -> list[bool]:
    """For each, the newest first, whether the plan means to get it out in time."""
    misfits = {misfit.name for misfit in plan(World(pending, seconds_left=left, bytes_per_second=rate)).does_not_fit}
    return [p.name not in misfits for p in sorted(pending, key=lambda p: (p.order, p.name), reverse=True)]


@given(
    pendings(),
    st.lists(st.tuples(STAGES, st.builds(Order, st.integers(0, 60), st.integers(0, 9), st.integers(1, 3))), max_size=3),
    st.none() | st.floats(allow_nan=False, min_value=-10),
    st.none() | st.floats(allow_nan=False, min_value=0),
    st.booleans(),
)
def test_whatever_the_world_each_name_is_sent_or_given_up_once_and_none_is_made_up(
    pending: tuple[Pending, ...], committed: list[tuple[str, Order]], left: float | None, rate: float | None, keep_all: bool
) -> None:
    decided = plan(World(pending, tuple(committed), left, rate, keep_all))
    told = [*decided.send, *(given_up.name for given_up in decided.superseded)]
    assert sorted(told) == sorted(p.name for p in pending)
    assert {misfit.name for misfit in decided.does_not_fit} <= set(decided.send)
    assert not (keep_all and decided.superseded)


@given(pendings(), RATES, TIMES)
def test_in_a_drain_the_newest_that_fits_is_sent_in_time(pending: tuple[Pending, ...], rate: int, left: float) -> None:
    pending = not_begun(pending)
    decided = plan(World(pending, seconds_left=left, bytes_per_second=rate))
    if fitting := [p for p in pending if seconds(p, rate) <= left]:
        assert decided.send[0] == newest(tuple(fitting)).name


@given(pendings(), RATES, TIMES)
def test_in_a_drain_what_is_said_to_fit_gets_out_in_time_one_after_the_other(pending: tuple[Pending, ...], rate: int, left: float) -> None:
    decided = plan(World(not_begun(pending), seconds_left=left, bytes_per_second=rate))
    by_name = {p.name: p for p in pending}
    misfits = {misfit.name for misfit in decided.does_not_fit}
    in_time = [name for name in decided.send if name not in misfits]
    assert sum(seconds(by_name[name], rate) for name in in_time) <= left * (1 + 1e-9) or not in_time
    assert decided.send[len(in_time) :] == tuple(misfit.name for misfit in decided.does_not_fit), "what does not fit goes last"


@given(pendings(), RATES, TIMES, st.floats(0, 30), st.integers(0, 5_000))
def test_more_time_or_a_faster_link_never_gets_an_older_one_out_instead(
    pending: tuple[Pending, ...], rate: int, left: float, more: float, faster: int
) -> None:
    # the newest first, compared as words are: what is newer counts for more than all that is older
    pending = not_begun(pending)
    assert fits(pending, rate, left) <= fits(pending, rate, left + more)
    assert fits(pending, rate, left) <= fits(pending, rate + faster, left)


@given(pendings(), RATES, TIMES, st.floats(0.95, 1.05))
def test_an_estimate_that_wavers_does_not_take_the_link_from_what_has_it(
    pending: tuple[Pending, ...], rate: int, left: float, error: float
) -> None:
    first = plan(World(not_begun(pending), seconds_left=left, bytes_per_second=rate))
    if not pending or first.send[0] in {misfit.name for misfit in first.does_not_fit}:
        return
    under_way = tuple(replace(p, begun=p.name == first.send[0]) for p in pending)
    again = plan(World(under_way, seconds_left=left, bytes_per_second=rate * error))
    newer = {p.name for p in pending if p.order > next(q for q in pending if q.name == first.send[0]).order}
    assert again.send[0] == first.send[0] or again.send[0] in newer


@given(pendings(), RATES, TIMES)
def test_finishing_what_is_almost_done_never_costs_the_newest_its_time(pending: tuple[Pending, ...], rate: int, left: float) -> None:
    decided = plan(World(pending, seconds_left=left, bytes_per_second=rate))
    by_name = {p.name: p for p in pending}
    misfits = {misfit.name for misfit in decided.does_not_fit}
    fitting = [by_name[name] for name in decided.send if name not in misfits]
    if not fitting:
        return
    best = newest(tuple(fitting))
    before = fitting[: fitting.index(best)]
    assert all(p.begun for p in before)
    assert sum(p.bytes_left for p in before) * 10 <= best.bytes_left


@given(pendings(), RATES, TIMES)
def test_each_that_does_not_fit_is_told_what_it_needs_and_what_there_is(pending: tuple[Pending, ...], rate: int, left: float) -> None:
    for misfit in plan(World(pending, seconds_left=left, bytes_per_second=rate)).does_not_fit:
        member = next(p for p in pending if p.name == misfit.name)
        assert f"{seconds(member, rate):.0f} s" in misfit.why
        assert f"of the {left:.0f} s left" in misfit.why


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


def test_what_went_before_its_file_was_whole_takes_the_time_to_be_compared() -> None:
    ahead = Pending("checkpoint-1", "", Order(1, 1, 1), bytes_left=1_000, unproven_bytes=5_000_000_000)
    assert plan(World((ahead,), seconds_left=10, bytes_per_second=1_000)).does_not_fit
    assert not plan(World((ahead,), seconds_left=13, bytes_per_second=1_000)).does_not_fit


def test_an_almost_done_one_of_another_stage_is_finished_first_when_both_fit() -> None:
    almost = Pending("a/checkpoint-1", "a", Order(1, 1, 1), 100, begun=True)
    newer = Pending("b/checkpoint-2", "b", Order(2, 2, 1), 6_000)
    assert plan(World((almost, newer), seconds_left=60, bytes_per_second=1_000)).send == ("a/checkpoint-1", "b/checkpoint-2")


def test_an_almost_done_one_of_the_same_stage_is_something_to_fall_back_on() -> None:
    almost = Pending("checkpoint-1", "", Order(1, 1, 1), 100, begun=True)
    newer = Pending("checkpoint-2", "", Order(2, 2, 1), 6_000)
    assert plan(World((almost, newer), seconds_left=60, bytes_per_second=1_000)).send == ("checkpoint-1", "checkpoint-2")
    assert plan(World((almost, newer), seconds_left=7.05, bytes_per_second=1_000)).send == ("checkpoint-2", "checkpoint-1")


def test_a_rehearsal_gives_nothing_up() -> None:
    older = Pending("checkpoint-1", "", Order(1, 1, 1), 100)
    committed = (("", Order(2, 2, 1)),)
    assert plan(World((older,), committed, 60, 1_000)).send == ()
    assert plan(World((older,), committed, 60, 1_000, keep_all=True)).send == ("checkpoint-1",)


@given(pendings(), st.booleans())
def test_what_retention_would_give_up_at_once_is_not_sent_unless_it_has_begun_or_all_is_wanted(
    pending: tuple[Pending, ...], keep_all: bool
) -> None:
    marked = tuple(replace(p, expendable=at % 2 == 0) for at, p in enumerate(pending))
    decided = plan(World(marked, keep_all=keep_all))
    for p in marked:
        if p.expendable and not p.begun and not keep_all:
            assert p.name not in decided.send
        if keep_all:
            assert p.name in decided.send
