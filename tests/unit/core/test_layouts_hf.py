from __future__ import annotations

from collections.abc import Mapping

import pytest

from spotguard.core.checkpoint import CompleteBy, FileStat, LocalCheckpoint, Unfinished, Whole
from spotguard.core.layouts.assess import assess, probes_for
from spotguard.core.layouts.base import Circumstances
from spotguard.core.layouts.identify import identify
from tests.unit.core.layout_world import judged, stat, tree

NAME = "sft/checkpoint-100"
STATE = {"trainer_state.json": {"global_step": 100}}
ONE_RANK = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "training_args.bin",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "trainer_state.json",
)
SAVED_BY_MARKER = Whole(CompleteBy.MARKER)


def saved(*files: str, stats: Mapping[str, FileStat] | None = None, name: str = NAME) -> LocalCheckpoint:
    """A checkpoint whose files were written in this order, a second apart."""
    placed = {f"{name}/{path}": found for path, found in (stats or {}).items()}
    found = tree(*(f"{name}/{path}" for path in files), stats=placed)
    return identify(found, "hf-trainer").checkpoints[name]


def without(*gone: str) -> tuple[str, ...]:
    return tuple(file for file in ONE_RANK if file not in gone)


def test_a_save_of_one_process_is_whole_at_its_marker_without_any_quiet() -> None:
    assert judged(saved(*ONE_RANK), quiet=0, documents=STATE) == SAVED_BY_MARKER


def test_one_rng_file_by_rank_counts_as_one_process() -> None:
    files = [file.replace("rng_state.pth", "rng_state_0.pth") for file in ONE_RANK]
    assert judged(saved(*files), quiet=0, documents=STATE) == SAVED_BY_MARKER


@pytest.mark.parametrize("gone", ["model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"])
@pytest.mark.parametrize("predecessor", [None, ONE_RANK])
def test_without_what_a_resume_needs_it_is_never_whole(gone: str, predecessor: tuple[str, ...] | None) -> None:
    answer = judged(saved(*without(gone)), documents=STATE, predecessor=predecessor)
    assert isinstance(answer, Unfinished)
    assert not answer.waits_only_for_quiet
    assert gone.partition(".")[0].replace("model", "weights") in answer.reason


@pytest.mark.parametrize("torn", ONE_RANK)
def test_a_torn_file_keeps_it_from_being_whole(torn: str) -> None:
    assert isinstance(judged(saved(*ONE_RANK), documents=STATE, torn=[torn]), Unfinished)
    assert isinstance(judged(saved(*ONE_RANK), documents=STATE, torn=[torn], declared=True), Unfinished)


@pytest.mark.parametrize("empty", ONE_RANK)
def test_an_empty_file_keeps_it_from_being_whole(empty: str) -> None:
    checkpoint = saved(*ONE_RANK, stats={empty: stat(size=0)})
    assert isinstance(judged(checkpoint, documents=STATE), Unfinished)


def test_a_probe_that_was_not_answered_is_no_yes() -> None:
    assert isinstance(assess(saved(*ONE_RANK), {}, Circumstances(1e9, 10)), Unfinished)


@pytest.mark.parametrize("document", [{}, {"global_step": 99}, {"global_step": "100"}, {"global_step": 100.0}, {"global_step": True}])
def test_the_marker_must_tell_of_this_very_step(document: Mapping[str, object]) -> None:
    assert isinstance(judged(saved(*ONE_RANK), documents={"trainer_state.json": document}), Unfinished)


def test_the_sentinel_of_a_save_in_progress_wins_over_all() -> None:
    checkpoint = saved(*ONE_RANK, "checkpoint-is-incomplete.txt")
    assert isinstance(judged(checkpoint, documents=STATE), Unfinished)
    assert isinstance(judged(checkpoint, documents=STATE, declared=True), Unfinished)


def test_several_ranks_wait_for_the_rng_files_that_the_one_before_had_but_at_most_two_seconds() -> None:
    ranks = tuple(f"rng_state_{rank}.pth" for rank in range(3))
    base = without("rng_state.pth")
    late, all_there = saved(*base, ranks[0], ranks[1]), saved(*base, *ranks)
    before = (*base, *ranks)
    waiting = judged(late, quiet=0.5, documents=STATE, predecessor=before)
    assert isinstance(waiting, Unfinished)
    assert (waiting.waits_only_for_quiet, waiting.ready_in_seconds) == (True, 1.5)
    assert judged(late, quiet=2.0, documents=STATE, predecessor=before) == SAVED_BY_MARKER
    assert judged(all_there, quiet=0, documents=STATE, predecessor=before) == SAVED_BY_MARKER
    assert isinstance(judged(all_there, quiet=1.9, documents=STATE), Unfinished)
    assert judged(all_there, quiet=2.0, documents=STATE) == SAVED_BY_MARKER


def test_an_rng_file_that_lands_after_the_marker_does_not_look_like_a_second_save() -> None:
    before = (*without("rng_state.pth"), "rng_state_0.pth", "rng_state_1.pth")
    late = saved(*without("rng_state.pth"), "rng_state_0.pth", "rng_state_1.pth")
    assert judged(late, quiet=0, documents=STATE, predecessor=before) == SAVED_BY_MARKER


@pytest.mark.parametrize(
    "weights",
    [
        ("model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
        ("adapter_config.json", "adapter_model.safetensors"),
        ("pytorch_model.bin",),
        ("pytorch_model_fsdp.bin",),
    ],
)
def test_weights_come_in_many_forms(weights: tuple[str, ...]) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    documents = STATE | {"model.safetensors.index.json": index}
    checkpoint = saved(*weights, *without("model.safetensors"))
    assert judged(checkpoint, quiet=0, documents=documents) == SAVED_BY_MARKER
    if len(weights) == 3:
        for gone in weights:
            torn = saved(*(file for file in weights if file != gone), *without("model.safetensors"))
            assert isinstance(judged(torn, documents=documents), Unfinished)


def test_save_only_model_is_whole_after_quiet_and_at_once_when_the_one_before_was_alike() -> None:
    bare = without("optimizer.pt", "scheduler.pt", "rng_state.pth")
    waiting = judged(saved(*bare), quiet=4, documents=STATE)
    assert isinstance(waiting, Unfinished)
    assert (waiting.waits_only_for_quiet, waiting.ready_in_seconds) == (True, 6)
    assert judged(saved(*bare), quiet=10, documents=STATE) == SAVED_BY_MARKER
    assert judged(saved(*bare), quiet=0, documents=STATE, predecessor=bare) == SAVED_BY_MARKER


def test_a_folder_that_is_being_deleted_is_not_taken_for_save_only_model() -> None:
    assert isinstance(judged(saved(*without("optimizer.pt", "scheduler.pt")), documents=STATE), Unfinished)
    bare = without("optimizer.pt", "scheduler.pt", "rng_state.pth")
    assert isinstance(judged(saved(*bare), documents=STATE, predecessor=ONE_RANK), Unfinished)


@pytest.mark.parametrize("gone", [file for file in ONE_RANK if file != "rng_state.pth"])
def test_without_a_file_that_the_one_before_had_it_is_never_whole(gone: str) -> None:
    assert isinstance(judged(saved(*without(gone)), documents=STATE, predecessor=ONE_RANK), Unfinished)


def test_a_second_save_over_the_first_must_settle() -> None:
    again = saved(*ONE_RANK, stats={"model.safetensors": stat(50)})
    assert isinstance(judged(again, quiet=1, documents=STATE), Unfinished)
    assert judged(again, quiet=10, documents=STATE) == SAVED_BY_MARKER


@pytest.mark.parametrize(
    "sharded",
    [
        ("pytorch_model_fsdp_0/__0_0.distcp", "pytorch_model_fsdp_0/.metadata", "optimizer_0/.metadata", "scheduler.pt"),
        ("global_step100/mp_rank_00_model_states.pt", "global_step100/zero_pp_rank_0_mp_rank_00_optim_states.pt", "latest"),
    ],
)
def test_shards_of_other_ranks_must_settle_besides(sharded: tuple[str, ...]) -> None:
    documents = STATE | {"latest": {"text": "global_step100"}}
    checkpoint = saved("config.json", *sharded, "rng_state_0.pth", "trainer_state.json")
    assert isinstance(judged(checkpoint, quiet=9, documents=documents), Unfinished)
    assert judged(checkpoint, quiet=10, documents=documents) == SAVED_BY_MARKER


def test_declared_replaces_the_marker_but_not_the_structure() -> None:
    checkpoint = saved(*without("trainer_state.json", "optimizer.pt"))
    assert judged(checkpoint, quiet=0, declared=True) == Whole(CompleteBy.DECLARED)
    assert isinstance(judged(checkpoint, quiet=0, declared=True, torn=["model.safetensors"]), Unfinished)
    assert isinstance(judged(saved("config.json", "trainer_state.json"), declared=True, documents=STATE), Unfinished)


def test_a_broken_checkpoint_is_never_whole_and_asks_for_no_look() -> None:
    broken = identify(tree(f"{NAME}/trainer_state.json", unreadable={f"{NAME}/x": "permission denied"})).checkpoints[NAME]
    assert probes_for(broken) == ()
    assert judged(broken, documents=STATE) == Unfinished("x: permission denied")
