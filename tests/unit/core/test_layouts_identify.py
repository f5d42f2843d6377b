from __future__ import annotations

import pytest

from spotguard.core.checkpoint import Tree, Unit
from spotguard.core.layouts.identify import identify
from spotguard.core.layouts.names import LAYOUT_NAMES
from spotguard.core.layouts.registry import IN_ORDER
from tests.unit.core.layout_world import tree

HF = ("config.json", "model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


def hf(name: str) -> list[str]:
    return [f"{name}/{file}" for file in HF]


def layouts_in(found: Tree, layout: str = "auto") -> dict[str, str]:
    return {name: checkpoint.layout for name, checkpoint in identify(found, layout).checkpoints.items()}


def test_the_layouts_of_this_version() -> None:
    assert LAYOUT_NAMES == (
        "auto",
        "hf-trainer",
        "nemo",
        "lightning",
        "megatron",
        "orbax",
        "composer",
        "dcp",
        "deepspeed",
        "accelerate",
        "tf-checkpoint",
        "keras-backup",
        "xgboost",
        "single-file",
        "generic-dir",
        "generic-file",
    )
    assert tuple(layout.name for layout in IN_ORDER) == LAYOUT_NAMES[1:]


@pytest.mark.parametrize(
    ("name", "stage", "step"),
    [
        ("checkpoint-100", "", 100),
        ("sft/checkpoint-50", "sft", 50),
        ("rl/best_of_n/checkpoint-10", "rl/best_of_n", 10),
        ("run-0/checkpoint-50", "run-0", 50),
    ],
)
def test_a_trainers_checkpoint_has_its_stage_and_step(name: str, stage: str, step: int) -> None:
    found = identify(tree(*hf(name)))
    assert list(found.checkpoints) == [name]
    checkpoint = found.checkpoints[name]
    assert (checkpoint.layout, checkpoint.stage, checkpoint.step, checkpoint.unit) == ("hf-trainer", stage, step, Unit.DIRECTORY)
    assert [file.path for file in checkpoint.files] == sorted(HF)
    assert not found.loose


@pytest.mark.parametrize(
    "sign",
    ["trainer_state.json", "training_args.bin", "scheduler.pt", "rng_state.pth", "rng_state_3.pth", "checkpoint-is-incomplete.txt"],
)
def test_one_sign_of_the_trainer_is_enough(sign: str) -> None:
    assert layouts_in(tree("checkpoint-1/config.json", f"checkpoint-1/{sign}")) == {"checkpoint-1": "hf-trainer"}


def test_a_checkpoint_without_a_sign_is_the_trainers_when_its_sibling_has_the_marker() -> None:
    found = tree("a/checkpoint-1/trainer_state.json", "a/checkpoint-2/config.json", "b/checkpoint-3/config.json")
    assert layouts_in(found) == {"a/checkpoint-1": "hf-trainer", "a/checkpoint-2": "hf-trainer", "b/checkpoint-3": "generic-dir"}


def test_what_begins_like_a_trainers_first_save_is_doubted() -> None:
    found = identify(tree("checkpoint-1/config.json", "x/checkpoint-2/weights.pt", "tmp-3/a.pt", "step-4/a.pt", "tmp-a.pt"))
    assert "trainer_state.json" in found.checkpoints["checkpoint-1"].doubt
    assert found.checkpoints["x/checkpoint-2"].doubt == ""
    assert found.checkpoints["tmp-3"].doubt == found.checkpoints["tmp-a.pt"].doubt == "its name looks temporary"
    assert found.checkpoints["step-4"].doubt == ""


@pytest.mark.parametrize("name", ["step_10", "epoch=1-step=10.ckpt", "10", "global_step20", "a b/ü-7", "v1.0", "exp1/x"])
def test_a_generic_folder_is_the_topmost_that_ends_in_digits(name: str) -> None:
    topmost = "exp1" if name == "exp1/x" else name
    found = identify(tree(f"{name}/deep-5/w.pt", f"{name}/w.bin"))
    assert layouts_in(tree(f"{name}/deep-5/w.pt", f"{name}/w.bin")) == {topmost: "generic-dir"}
    assert not found.loose


@pytest.mark.parametrize("name", ["final", "last.ckpt", "step-10.tmpx", "step10a"])
def test_other_folders_are_no_checkpoints(name: str) -> None:
    found = identify(tree(f"{name}/notes.txt"))
    assert not found.checkpoints
    assert list(found.loose) == [f"{name}/notes.txt"]


def test_a_folder_with_nothing_in_it_is_no_checkpoint_yet() -> None:
    assert not identify(tree(folders=["step-1", "checkpoint-2", "checkpoint-3/sub"])).checkpoints


@pytest.mark.parametrize("suffix", ["pt", "pth", "ckpt", "bin", "safetensors", "npz", "h5", "keras", "pkl"])
def test_a_generic_file_is_known_by_its_suffix(suffix: str) -> None:
    found = identify(tree(f"out/model_7.{suffix}", "out/model.txt"))
    assert {name: c.layout for name, c in found.checkpoints.items()} == {f"out/model_7.{suffix}": "generic-file"}
    checkpoint = found.checkpoints[f"out/model_7.{suffix}"]
    assert (checkpoint.unit, checkpoint.stage, checkpoint.files[0].path) == (Unit.FILE, "out", f"model_7.{suffix}")
    assert list(found.loose) == ["out/model.txt"]


def test_the_exports_of_a_trainer_beside_its_checkpoints_are_loose() -> None:
    exports = ["model.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.bin", "training_args.bin", "adapter_model.bin"]
    found = identify(tree(*hf("out/checkpoint-1"), *(f"out/{name}" for name in exports), "out/mine.pt", "final/model.safetensors"))
    assert set(found.loose) == {f"out/{name}" for name in exports}
    assert set(found.checkpoints) == {"out/checkpoint-1", "out/mine.pt", "final/model.safetensors"}


def test_tensorboard_logs_are_loose_though_their_folder_ends_in_digits() -> None:
    log = "out/runs/Nov23_20-00-00_ip-10-0-0-7/events.out.tfevents.1.host.2.0"
    found = identify(tree(log, "out/version_0/events.out.tfevents.1", "out/version_0/a.ckpt"))
    assert list(found.loose) == [log]
    assert list(found.checkpoints) == ["out/version_0"]


@pytest.mark.parametrize(
    ("layout", "checkpoints"),
    [
        ("hf-trainer", ["a/checkpoint-1", "run-0/checkpoint-2"]),
        ("generic-dir", ["a/checkpoint-1", "run-0", "step-3"]),
        ("generic-file", ["b/model.pt"]),
    ],
)
def test_a_layout_that_is_set_is_the_only_one_that_claims(layout: str, checkpoints: list[str]) -> None:
    files = ["a/checkpoint-1/config.json", "run-0/checkpoint-2/x.pt", "step-3/y.pt", "b/model.pt"]
    found = identify(tree(*files), layout)
    assert list(found.checkpoints) == checkpoints
    inside = {file.source for checkpoint in found.checkpoints.values() for file in checkpoint.files}
    assert set(found.loose) == set(files) - inside


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(KeyError):
        identify(tree("a"), "nope")


def test_ours_and_what_is_temporary_by_name_is_never_looked_at() -> None:
    found = identify(
        tree(
            "last_sync.json",
            ".spotguard/x.pt",
            ".spotguard-anything",
            "sft/.spotguard-tmp/a.pt",
            "sft/.spotguard-quarantine/checkpoint-5/trainer_state.json",
            "tmp-checkpoint-5/model.pt",
            "checkpoint-6/.spotguard-tmp/part",
            "checkpoint-6/trainer_state.json",
            "sft/last_sync.json",
            unreadable={".spotguard-tmp/b": "no"},
            special=[".spotguard/socket", "pipe"],
        )
    )
    assert list(found.checkpoints) == ["checkpoint-6"]
    assert [file.path for file in found.checkpoints["checkpoint-6"].files] == ["trainer_state.json"]
    assert list(found.loose) == ["sft/last_sync.json"]
    assert not found.unreadable
    assert found.special == {"pipe"}


def test_the_state_files_beside_it_and_at_the_root_are_companions_and_loose_too() -> None:
    found = identify(
        tree(*hf("sft/checkpoint-1"), *hf("checkpoint-2"), "rl/checkpoint-3/scheduler.pt", "training_state.json", "sft/training_state.json")
    )
    assert found.checkpoints["sft/checkpoint-1"].companions == ("sft/training_state.json", "training_state.json")
    assert found.checkpoints["checkpoint-2"].companions == ("training_state.json",)
    assert found.checkpoints["rl/checkpoint-3"].companions == ("training_state.json",)
    assert set(found.loose) == {"training_state.json", "sft/training_state.json"}


def test_empty_folders_and_what_a_pattern_left_out_are_told() -> None:
    found = identify(tree("step-1/w.pt", folders=["step-1/empty/deep"], excluded=["step-1/wandb/x", "wandb", "step-1/a.log"]))
    assert found.checkpoints["step-1"].folders == (("empty", 0o755), ("empty/deep", 0o755), ("wandb", 0o755))
    assert found.checkpoints["step-1"].excluded == ("a.log", "wandb/x")


def test_a_checkpoint_with_something_unreadable_in_it_is_broken() -> None:
    found = identify(tree("step-1/w.pt", unreadable={"step-1/\\xff": "a file whose name is not UTF-8", "other": "permission denied"}))
    assert found.checkpoints["step-1"].broken == "\\xff: a file whose name is not UTF-8"
    assert found.unreadable == {"step-1/\\xff": "a file whose name is not UTF-8", "other": "permission denied"}


def test_a_checkpoint_of_which_only_the_name_can_be_seen_is_broken_not_absent() -> None:
    found = identify(
        tree(
            unreadable={
                "checkpoint-5": "a folder that cannot be listed",
                "step-6": "a folder that cannot be listed",
                "model.pt": "permission denied",
                "events.out.tfevents.123": "permission denied",
                "step-7/only.pt": "permission denied",
            }
        )
    )
    assert {n: (c.layout, bool(c.broken)) for n, c in found.checkpoints.items()} == {
        "checkpoint-5": ("hf-trainer", True),
        "step-6": ("generic-dir", True),
        "model.pt": ("single-file", True),
        "step-7": ("generic-dir", True),
    }


def test_a_name_longer_than_a_key_may_be_is_told() -> None:
    long = "/".join(["d" * 200] * 6)
    found = identify(tree(f"step-1/{long}/w.pt", f"{long}/notes.txt"))
    assert "longer than" in (found.checkpoints["step-1"].broken or "")
    assert list(found.unreadable) == [f"{long}/notes.txt"]
    assert not found.loose
