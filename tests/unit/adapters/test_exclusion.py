from __future__ import annotations

import pytest

from spotguard.adapters.disk.exclusion import Exclusion

DEFAULTS = ("*.log", "wandb/**", "*.tmp")


@pytest.mark.parametrize("path", ["a.log", "sft/b.log", "wandb/x", "sft/wandb/run-1/x", "checkpoint-1/wandb/x", "x.tmp", "a.tmp/b"])
def test_the_defaults_hold_at_any_depth(path: str) -> None:
    assert Exclusion(DEFAULTS).leaves_out(path)


@pytest.mark.parametrize("path", ["log", "a.logs", "wandb", "mywandb/x", "model.safetensors", "a.tmpx"])
def test_the_defaults_take_no_more_than_they_say(path: str) -> None:
    assert not Exclusion(DEFAULTS).leaves_out(path)


def test_other_patterns_mean_what_they_mean_to_git() -> None:
    exclusion = Exclusion(("/top", "a/b/*.bin", "cache/", "# comment", ""))
    assert [exclusion.leaves_out(path) for path in ("top", "sub/top", "a/b/x.bin", "x/a/b/x.bin", "cache/x")] == [
        True,
        False,
        True,
        False,
        True,
    ]
    assert exclusion.leaves_out_folder("sub/cache")
    assert not exclusion.leaves_out_folder("a/b")


def test_an_exception_is_heeded_and_no_folder_is_skipped_for_it() -> None:
    exclusion = Exclusion(("wandb/**", "!wandb/summary.json"))
    assert not exclusion.leaves_out("wandb/summary.json")
    assert exclusion.leaves_out("wandb/x")
    assert not exclusion.leaves_out_folder("wandb")


def test_no_pattern_excludes_nothing() -> None:
    assert not Exclusion(()).leaves_out("a.log")
    assert not Exclusion(()).leaves_out_folder("wandb")
