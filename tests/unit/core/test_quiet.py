from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.checkpoint import FileStat, LocalCheckpoint
from spotguard.core.layouts.identify import identify
from spotguard.core.quiet import observe, seconds_until_telling
from tests.unit.core.layout_world import SECOND, START, tree


def seen(changed_at: float, files: str = "w.pt") -> LocalCheckpoint:
    """A checkpoint whose newest change was so many seconds after START, on the filesystem's clock."""
    checkpoint = identify(tree(*(f"step-1/{file}" for file in files.split()))).checkpoints["step-1"]
    return replace(checkpoint, newest_change_ns=START + int(changed_at * SECOND))


def wall(at: float) -> int:
    return START + int(at * SECOND)


def test_a_folder_that_was_old_at_the_start_is_quiet_at_once() -> None:
    assert observe(None, seen(0), now=5.0, wall_ns=wall(3600)).quiet_seconds(5.0) == pytest.approx(3600)


def test_a_time_in_the_future_counts_as_now() -> None:
    first = observe(None, seen(500), now=5.0, wall_ns=wall(0))
    assert first.last_change == 5.0
    assert first.quiet_seconds(12.0) == 7.0


def test_an_unchanged_checkpoint_grows_quiet() -> None:
    first = observe(None, seen(0), now=0.0, wall_ns=wall(1))
    later = observe(first, seen(0), now=30.0, wall_ns=wall(31))
    assert later.quiet_seconds(30.0) == pytest.approx(31)


def test_a_change_between_two_looks_is_dated_by_its_own_time() -> None:
    first = observe(None, seen(0), now=100.0, wall_ns=wall(100))
    changed = observe(first, seen(110, "w.pt x.pt"), now=130.0, wall_ns=wall(130))
    assert changed.last_change == pytest.approx(110.0)


@pytest.mark.parametrize("changed_at", [-1000.0, 50.0, 99.0, 5000.0])
def test_a_change_whose_own_time_cannot_be_is_dated_by_the_look_that_saw_it(changed_at: float) -> None:
    first = observe(None, seen(0), now=100.0, wall_ns=wall(100))
    changed = observe(first, seen(changed_at, "w.pt x.pt"), now=130.0, wall_ns=wall(130))
    assert changed.last_change == 130.0


def test_the_lag_of_a_filesystems_clock_is_no_reason_for_doubt() -> None:
    first = observe(None, seen(0), now=100.0, wall_ns=wall(100))
    assert observe(first, seen(99.99, "w.pt x.pt"), now=130.0, wall_ns=wall(130)).last_change == 100.0


def test_a_wall_clock_that_jumps_does_not_make_anything_quiet() -> None:
    first = observe(None, seen(0), now=0.0, wall_ns=wall(0))
    jumped = observe(first, seen(1, "w.pt x.pt"), now=2.0, wall_ns=wall(100_000))
    assert jumped.quiet_seconds(2.0) == 0.0


@given(st.lists(st.tuples(st.floats(0.01, 100), st.booleans(), st.floats(-1e6, 1e6), st.floats(-1e5, 1e5)), max_size=15))
def test_it_is_never_quiet_for_longer_than_nothing_was_seen_to_change(steps: list[tuple[float, bool, float, float]]) -> None:
    now, files = 0.0, "w.pt"
    observation = observe(None, seen(0, files), now=now, wall_ns=wall(0))
    look_before = None
    for waited, changes, changed_at, skew in steps:
        look_before, now = now, now + waited
        files = f"{files} {len(files)}.pt" if changes else files
        observation = observe(observation, seen(changed_at, files), now=now, wall_ns=wall(now + skew))
        if changes:
            assert observation.quiet_seconds(now) <= now - look_before + 1e-6
        assert observation.last_change <= now


@pytest.mark.parametrize(
    ("age_seconds", "wait_seconds"),
    [(0.0, 0.02), (0.015, 0.005), (0.02, 0.0), (3600.0, 0.0), (-0.01, 0.03), (-3600.0, 0.0)],
    ids=["this moment", "a tick ago", "told", "long ago", "coarse clocks differ a little", "another clock's time"],
)
def test_a_file_is_read_once_every_later_write_shows_in_its_stat(age_seconds: float, wait_seconds: float) -> None:
    stat = FileStat(size=1, mtime_ns=0, ctime_ns=START, device=1, inode=1, mode=0o644)
    assert seconds_until_telling(stat, wall_ns=START + round(age_seconds * SECOND)) == pytest.approx(wait_seconds)
