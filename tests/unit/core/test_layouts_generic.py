from __future__ import annotations

from dataclasses import replace

import pytest

from spotguard.core.checkpoint import CompleteBy, LocalCheckpoint, Unfinished, Whole
from spotguard.core.layouts.assess import probes_for
from spotguard.core.layouts.identify import identify
from spotguard.core.structure import Structure, structure_of
from tests.unit.core.layout_world import judged, stat, tree

QUIET = Whole(CompleteBy.QUIET)


def folder(*files: str, name: str = "step-10") -> LocalCheckpoint:
    return identify(tree(*(f"{name}/{file}" for file in files))).checkpoints[name]


def test_quiet_for_the_settle_time_and_not_before() -> None:
    waiting = judged(folder("w.pt", "notes.txt"), quiet=9.5)
    assert isinstance(waiting, Unfinished)
    assert (waiting.waits_only_for_quiet, waiting.ready_in_seconds) == (True, 0.5)
    assert judged(folder("w.pt", "notes.txt"), quiet=10) == QUIET


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "a.json", "m.keras", "m.h5", "x.npz", "x.bin"])
def test_a_torn_file_is_not_waited_for_but_named(name: str) -> None:
    answer = judged(folder("b.pt", name), torn=[name])
    assert answer == Unfinished(f"{name} is cut off")


@pytest.mark.parametrize(("name", "whole"), [("w.pt", False), ("r.pkl", False), ("s.distcp", False), ("__init__.py", True), ("DONE", True)])
def test_an_empty_file_counts_where_its_kind_is_known(name: str, whole: bool) -> None:
    found = tree("step-10/b.pt", stats={f"step-10/{name}": stat(size=0)})
    answer = judged(identify(found).checkpoints["step-10"])
    assert (answer == QUIET) == whole


def test_an_index_needs_its_shards() -> None:
    documents = {"m/model.safetensors.index.json": {"weight_map": {"a": "s1.safetensors", "b": "s2.safetensors"}}}
    whole = folder("m/model.safetensors.index.json", "m/s1.safetensors", "m/s2.safetensors")
    torn = folder("m/model.safetensors.index.json", "m/s1.safetensors")
    assert judged(whole, documents=documents) == QUIET
    assert judged(torn, documents=documents) == Unfinished("m/s2.safetensors is not there, which m/model.safetensors.index.json names")


def test_a_file_that_the_predecessor_had_is_missed_with_digits_generalised() -> None:
    before = ("part_1.pt", "part_2.pt", "state-10.json")
    assert judged(folder("part_7.pt", "state-20.json"), predecessor=before) == QUIET
    lacking = judged(folder("part_1.pt"), predecessor=before)
    assert lacking == Unfinished("state-#.json is not there, which another rank or the checkpoint before it has")


@pytest.mark.parametrize("files", [("rank_0.pt", "state.json"), ("rank_1.pt", "state.json"), ("rank_0.pt", "rank_2.pt", "state.json")])
def test_each_rank_must_have_written_its_own(files: tuple[str, ...]) -> None:
    before = ("rank_0.pt", "rank_1.pt", "state.json")
    assert isinstance(judged(folder(*files), predecessor=before), Unfinished)
    assert judged(folder("rank_0.pt", "rank_1.pt", "rank_2.pt", "state.json"), predecessor=before) == QUIET


def test_a_rank_that_is_left_out_is_seen_in_the_first_checkpoint_too() -> None:
    assert isinstance(judged(folder("rank_0.pt", "rank_2.pt")), Unfinished)
    assert judged(folder("rank_1.pt", "rank_2.pt")) == QUIET


def test_a_single_file_has_nothing_to_lack() -> None:
    file = identify(tree("epoch=1-step=5.ckpt")).checkpoints["epoch=1-step=5.ckpt"]
    assert judged(file, predecessor=("last.ckpt",)) == QUIET


def test_a_writer_that_died_just_after_the_last_write_leaves_it_in_doubt_unless_it_said_so() -> None:
    assert isinstance(judged(folder("w.pt"), writer_died=True), Unfinished)
    assert judged(folder("w.pt"), writer_died=True, declared=True, quiet=0) == Whole(CompleteBy.DECLARED)


def test_declared_replaces_quiet_but_not_the_structure() -> None:
    assert judged(folder("w.pt"), quiet=0, declared=True) == Whole(CompleteBy.DECLARED)
    assert isinstance(judged(folder("w.pt"), quiet=1e9, declared=True, torn=["w.pt"]), Unfinished)


def test_the_possible_first_save_of_a_trainer_needs_a_minute_until_the_kind_is_known() -> None:
    doubtful = folder("config.json", "model.safetensors", name="checkpoint-10")
    assert doubtful.layout == "generic-dir"
    waiting = judged(doubtful, quiet=59)
    assert isinstance(waiting, Unfinished)
    assert waiting.ready_in_seconds == 1
    assert "trainer_state.json" in waiting.reason
    assert judged(doubtful, quiet=60) == QUIET
    assert isinstance(judged(doubtful, quiet=100, settle=20), Unfinished)
    assert judged(doubtful, quiet=10, predecessor=("config.json",)) == QUIET


def test_nothing_but_what_must_be_opened_is_asked() -> None:
    checkpoint = folder("w.pt", "r.npy", "notes.txt", "a.json")
    assert {probe.source: probe.structure for probe in probes_for(checkpoint)} == {
        "step-10/w.pt": Structure.TORCH_ZIP,
        "step-10/a.json": Structure.JSON,
    }


def test_a_checkpoint_of_links_alone_or_of_nothing() -> None:
    checkpoint = folder("w.pt")
    assert judged(replace(checkpoint, files=(), links=(("a", "b"),))) == QUIET
    assert judged(replace(checkpoint, files=())) == Unfinished("no file in it yet")


@pytest.mark.parametrize(
    ("path", "structure"),
    [
        ("a/model.safetensors", Structure.SAFETENSORS),
        ("pytorch_model-00001-of-00002.bin", Structure.TORCH_ZIP),
        ("training_args.bin", Structure.TORCH_ZIP),
        ("train.bin", Structure.BINARY),
        ("x.weights.h5", Structure.HDF5),
        ("x.keras", Structure.ZIP),
        ("metrics.jsonl", Structure.ANY),
        ("pt", Structure.ANY),
        ("dir.pt/plain", Structure.ANY),
    ],
)
def test_what_a_name_promises(path: str, structure: Structure) -> None:
    assert structure_of(path) is structure
