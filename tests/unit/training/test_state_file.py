from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from spotguard.training import DamagedState, load_training_state, save_training_state


def test_what_was_saved_last_is_loaded(tmp_path: Path) -> None:
    save_training_state(tmp_path / "out", {"step": 1})
    save_training_state(tmp_path / "out", {"step": 2, "best": float("inf"), "größe": ["a", None, 1.5]})
    assert load_training_state(tmp_path / "out") == {"step": 2, "best": float("inf"), "größe": ["a", None, 1.5]}
    assert os.listdir(tmp_path / "out") == ["training_state.json"]


def test_no_state_is_an_empty_one(tmp_path: Path) -> None:
    assert load_training_state(tmp_path) == {}
    assert load_training_state(tmp_path / "nowhere") == {}


@pytest.mark.parametrize("content", ["", '{"step": 1', "[1]", "null", "\x00" * 20, "[" * 100_000])
def test_a_damaged_state_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "training_state.json").write_text(content)
    with pytest.raises(DamagedState, match=r"training_state\.json"):
        load_training_state(tmp_path)


def test_what_json_does_not_know_leaves_the_old_state_alone(tmp_path: Path) -> None:
    save_training_state(tmp_path, {"step": 1})
    with pytest.raises(TypeError):
        save_training_state(tmp_path, {"step": object()})
    assert load_training_state(tmp_path) == {"step": 1}
    assert os.listdir(tmp_path) == ["training_state.json"]


def test_a_full_disk_leaves_the_old_state_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_training_state(tmp_path, {"step": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_training_state(tmp_path, {"step": 2})
    assert load_training_state(tmp_path) == {"step": 1}
    assert os.listdir(tmp_path) == ["training_state.json"]


def test_the_content_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda old, new: (order.append(f"rename {Path(old).suffix}"), replace(old, new))[1])
    save_training_state(tmp_path, {"step": 1})
    assert order == ["fsync", "rename .tmp", "fsync"]


def test_a_state_that_is_too_large_to_be_kept_with_each_checkpoint_is_saved_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="not stored with each checkpoint"):
        save_training_state(tmp_path, {"history": [1.0] * 30_000})
    assert len(json.loads((tmp_path / "training_state.json").read_text())["history"]) == 30_000
