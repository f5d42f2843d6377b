"""Which checkpoint to try next, which folder times to set, and what is left in the bucket."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.checkpoint import Order, stage_of
from spotguard.core.loose import LooseFile
from spotguard.core.phrasing import readable_bytes
from spotguard.core.recovery import (
    FOLDER_GAP_NS,
    FolderTime,
    LocalCandidate,
    candidates,
    could_be_picked,
    folder_times,
    loose_to_bring,
    newest_relatives,
)
from spotguard.core.run_keys import ManifestKey, RunKeys

KEYS = RunKeys("b", "run")


def commit(name: str, saved_at: int, generation: int = 1) -> ManifestKey:
    key = KEYS.manifest(name, generation, datetime.fromtimestamp(saved_at, UTC))
    parsed = KEYS.parse_manifest(key)
    assert parsed is not None
    return parsed


names = st.builds(lambda stage, step: f"{stage}checkpoint-{step}", st.sampled_from(["", "sft/", "rl/"]), st.integers(0, 20))
commits = st.lists(st.builds(commit, names, st.integers(0, 50), st.integers(1, 3)), max_size=12)
locals_ = st.lists(st.builds(lambda n, s: LocalCandidate(n, Order(s, 0, 9)), names, st.integers(0, 50)), max_size=4)


@given(commits, locals_)
def test_every_candidate_is_tried_once_and_the_newest_first(committed: list[ManifestKey], local: list[LocalCandidate]) -> None:
    order = candidates(committed, local)
    assert sorted(map(repr, order)) == sorted(map(repr, [*committed, *local]))
    if order:
        assert order[0].order == max(c.order for c in order)


@given(commits, locals_)
def test_the_newest_decides_the_stage_and_others_come_after_it(committed: list[ManifestKey], local: list[LocalCandidate]) -> None:
    order = candidates(committed, local)
    is_of_first = [stage_of(c.name) == stage_of(order[0].name) for c in order]
    assert is_of_first == sorted(is_of_first, reverse=True)
    for of_first in (True, False):
        orders = [c.order for c, mark in zip(order, is_of_first, strict=True) if mark is of_first]
        assert orders == sorted(orders, reverse=True)


@given(commits, st.sampled_from(["", "sft", "rl"]))
def test_a_stage_is_never_left(committed: list[ManifestKey], stage: str) -> None:
    assert {stage_of(c.name) for c in candidates(committed, stage=stage)} <= {stage}


def test_of_a_tie_the_committed_one_goes_first() -> None:
    key = commit("a/checkpoint-1", 5)
    assert candidates([key], [LocalCandidate("a/checkpoint-1", key.order)])[0] is key


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 200)), max_size=8, unique_by=lambda pair: pair[0]), st.integers(0, 300))
def test_folder_times_rise_with_the_order_and_never_lie_ahead(folders: list[tuple[int, int]], now: int) -> None:
    second = 1_000_000_000
    given_ = [FolderTime(f"c{saved}", Order(saved, saved, 1), mtime * second) for saved, mtime in folders]
    changed = folder_times(given_, now_ns=now * second)
    after = [changed.get(folder.name, folder.mtime_ns) for folder in sorted(given_, key=lambda f: f.order)]
    assert all(later - earlier >= FOLDER_GAP_NS for earlier, later in pairwise(after))
    assert all(time <= now * second - FOLDER_GAP_NS for time in after)


def test_folder_times_that_are_right_are_left() -> None:
    folders = [FolderTime(f"c{at}", Order(at, at, 1), at * FOLDER_GAP_NS) for at in range(5)]
    assert folder_times(folders, now_ns=100 * FOLDER_GAP_NS) == {}


def loose(path: str, seconds: int) -> LooseFile:
    return LooseFile(path, path, 1, "AAAAAAAAAAA=", 0o644, seconds * 1_000_000_000)


def test_loose_copies_of_companions_and_state_of_newer_checkpoints_stay() -> None:
    files = loose("training_state.json", 25), loose("sft/latest", 25), loose("notes.txt", 99), loose("checkpoint", 15)
    index = {file.path: file for file in files}
    chosen, newer = commit("sft/checkpoint-1", 10), commit("sft/checkpoint-2", 20)
    bring, left = loose_to_bring(
        index, chosen=chosen.name, chosen_order=chosen.order, companions=["training_state.json"], newer=[newer, chosen]
    )
    assert [f.path for f in bring] == ["checkpoint", "notes.txt"]
    assert left == ("sft/latest",)


@pytest.mark.parametrize(
    ("name", "layout", "expected"),
    [
        ("checkpoint-9", "hf-trainer", True),
        ("sft/step-9", "generic-dir", True),
        ("data-2024", "generic-dir", False),
        ("rl/step-9", "generic-dir", False),
    ],
)
def test_only_what_a_trainer_may_take_for_its_own_is_in_danger(name: str, layout: str, expected: bool) -> None:
    assert could_be_picked(name, layout, ["sft/step-8"]) is expected


def test_relatives_differ_in_digits_only() -> None:
    committed = [commit("step-1", 1), commit("step-2", 2), commit("sft/step-3", 3)]
    assert newest_relatives(["step-99"], committed) == {"step-2"}


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (123_456_789, "123 MB"), (1e9, "1 GB"), (2.5e15, "2500 TB")],
)
def test_sizes_are_readable(size: float, words: str) -> None:
    assert readable_bytes(size) == words
