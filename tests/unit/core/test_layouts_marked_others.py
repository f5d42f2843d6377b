"""XGBoost, TensorFlow and Keras: whole by their own signs, not by quiet alone."""

from __future__ import annotations

import pytest

from spotguard.core.checkpoint import CompleteBy, LocalCheckpoint, Pointer, Unfinished, Unit, Whole
from spotguard.core.layouts.identify import identify
from tests.unit.core.layout_world import Documents, found_in, judged, only, says, stat, tree

# XGBoost


def test_each_xgboost_model_is_a_checkpoint() -> None:
    inventory = found_in("model_9.ubj", "model_99.ubj", "notes.ubj", "settings_3.json")
    assert {name: (one.layout, one.step) for name, one in inventory.checkpoints.items() if name != "notes.ubj"} == {
        "model_9.ubj": ("xgboost", 9),
        "model_99.ubj": ("xgboost", 99),
    }
    assert list(inventory.loose) == ["settings_3.json"]
    assert isinstance(judged(inventory.checkpoints["model_99.ubj"], torn=("model_99.ubj",)), Unfinished)
    assert isinstance(judged(inventory.checkpoints["model_99.ubj"]), Whole)


def test_the_other_forms_of_a_model_are_claimed_where_xgboost_is_set() -> None:
    inventory = identify(tree("model_9.json", "model_10.pkl", "notes.json"), "xgboost")
    assert list(inventory.checkpoints) == ["model_10.pkl", "model_9.json"]


# TensorFlow

CKPT = ("ckpt-2.data-00000-of-00002", "ckpt-2.data-00001-of-00002", "ckpt-2.index")
INDEX: Documents = {"ckpt-2.index": {"data_bytes": (100, 50)}}
NAMES_IT = says("checkpoint", 'model_checkpoint_path: "/job/out/ckpt-2"\nall_model_checkpoint_paths: "/job/out/ckpt-1"\n')


def test_a_tensorflow_checkpoint_is_whole_when_it_is_named() -> None:
    inventory = found_in(*CKPT, "checkpoint")
    checkpoint = only(inventory)
    assert (checkpoint.name, checkpoint.layout, checkpoint.unit, checkpoint.step) == ("ckpt-2", "tf-checkpoint", Unit.GROUP, 2)
    assert judged(checkpoint, quiet=0.0, documents={**INDEX, **NAMES_IT}) == Whole(CompleteBy.MARKER)
    assert list(inventory.loose) == ["checkpoint"]


def test_the_pointer_of_a_tensorflow_checkpoint_is_restored_without_absolute_paths() -> None:
    checkpoint = only(found_in(*(f"run/{file}" for file in CKPT), "run/checkpoint"))
    (pointer,) = checkpoint.pointers
    assert isinstance(pointer, Pointer)
    assert (pointer.file.path, pointer.text) == (
        "run/checkpoint",
        'model_checkpoint_path: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-2"\n',
    )


@pytest.mark.parametrize("others", [(), ("checkpoint",)])
def test_a_tensorflow_checkpoint_that_is_not_named_is_told_by_quiet(others: tuple[str, ...]) -> None:
    checkpoint = only(found_in(*CKPT, *others))
    documents = {**INDEX, **says("checkpoint", 'model_checkpoint_path: "ckpt-1"\n')}
    assert isinstance(judged(checkpoint, quiet=5.0, documents=documents), Unfinished)
    assert judged(checkpoint, quiet=10.0, documents=documents) == Whole(CompleteBy.MARKER)


@pytest.mark.parametrize("missing", CKPT)
def test_a_tensorflow_checkpoint_misses_what_its_index_tells_of(missing: str) -> None:
    checkpoint = only(found_in(*(path for path in CKPT if path != missing), "checkpoint"))
    assert isinstance(judged(checkpoint, documents={**INDEX, **NAMES_IT}), Unfinished)


def test_a_short_data_file_is_not_whole() -> None:
    checkpoint = only(found_in(*CKPT, "checkpoint"))
    documents = {"ckpt-2.index": {"data_bytes": (101, 50)}, **NAMES_IT}
    why = "ckpt-2.data-00000-of-00002 has 100 of the 101 bytes that ckpt-2.index tells of"
    assert judged(checkpoint, documents=documents) == Unfinished(why)


def test_the_parts_that_tensorflow_has_not_merged_yet_are_no_checkpoint() -> None:
    parts = tuple(f"ckpt-3_temp/part-00000-of-00001.{end}" for end in ("data-00000-of-00001", "index"))
    inventory = found_in(*CKPT, *parts, "checkpoint")
    assert list(inventory.checkpoints) == ["ckpt-2"]
    assert list(inventory.loose) == ["checkpoint"]
    again = found_in(*CKPT, *(part.replace("ckpt-3", "ckpt-2") for part in parts), "checkpoint")
    assert judged(only(again), documents={**INDEX, **NAMES_IT}) == Unfinished("ckpt-2_temp is still there")


def test_an_index_of_somebody_else_is_loose() -> None:
    assert not found_in("vectors.index", "notes.txt").checkpoints


# Keras


def keras(**saved_at: float) -> LocalCheckpoint:
    names = {"weights": "latest.weights.h5", "metadata": "training_metadata.json", "copy": "latest.weights.h5.bkp"}
    return only(identify(tree(stats={f"backup/{names[key]}": stat(at) for key, at in saved_at.items()})))


def test_a_keras_backup_is_whole_when_its_metadata_is_the_newest() -> None:
    checkpoint = keras(copy=1, weights=2, metadata=3)
    assert (checkpoint.name, checkpoint.layout, checkpoint.unit, checkpoint.in_place) == (
        "backup/latest",
        "keras-backup",
        Unit.GROUP,
        True,
    )
    assert [file.path for file in checkpoint.files] == ["latest.weights.h5", "latest.weights.h5.bkp", "training_metadata.json"]
    assert judged(checkpoint, quiet=0.0) == Whole(CompleteBy.MARKER)


@pytest.mark.parametrize("saved_at", [{"weights": 4.0, "metadata": 3.0}, {"copy": 4.0, "weights": 2.0, "metadata": 3.0}])
def test_a_keras_backup_is_saved_again_while_weights_or_a_copy_are_newer(saved_at: dict[str, float]) -> None:
    assert isinstance(judged(keras(**saved_at)), Unfinished)


def test_weights_without_metadata_may_be_anybodys_and_wait_for_long() -> None:
    assert isinstance(judged(keras(weights=1), quiet=30.0), Unfinished)
    assert judged(keras(weights=1), quiet=3600.0) == Whole(CompleteBy.QUIET)
