"""Orbax, Megatron-LM, NeMo and Composer: whole by their own signs, not by quiet alone."""

from __future__ import annotations

import pytest

from spotguard.core.checkpoint import CompleteBy, LocalLink, Unfinished, Unit, Whole
from spotguard.core.layouts.identify import identify
from tests.unit.core.layout_world import Documents, found_in, judged, only, says, stat, tree

# Orbax

ORBAX = tuple(
    f"6/{path}"
    for path in (
        "_CHECKPOINT_METADATA", "state/_METADATA", "state/_sharding", "state/manifest.ocdbt", "state/d/eca1071fd41f2281010ec6d109c3f958",
        "state/array_metadatas/process_0", "state/commit_success.txt", "commit_success.txt",
    )
)  # fmt: skip
COMMITTED: Documents = {"_CHECKPOINT_METADATA": {"commit_timestamp_nsecs": 1795519180958839696}}


def test_an_orbax_step_is_whole_at_once() -> None:
    checkpoint = only(found_in(*ORBAX))
    assert (checkpoint.layout, checkpoint.unit, checkpoint.step) == ("orbax", Unit.DIRECTORY, 6)
    assert judged(checkpoint, quiet=0.0) == Whole(CompleteBy.MARKER)


@pytest.mark.parametrize("name", ["23", "0023", "step_23", "step_0023", "ckpt_23"])
def test_orbax_names_its_steps_in_many_ways(name: str) -> None:
    checkpoint = only(found_in(f"{name}/_CHECKPOINT_METADATA", f"{name}/default/manifest.ocdbt"))
    assert (checkpoint.layout, checkpoint.step) == ("orbax", 23)


def test_what_orbax_is_still_making_is_not_looked_at() -> None:
    inventory = found_in(*(path.replace("6/", "6.orbax-checkpoint-tmp/", 1) for path in ORBAX))
    assert not inventory.checkpoints
    assert not inventory.loose


def test_orbax_without_a_commit_file_is_told_by_the_commit_time() -> None:
    checkpoint = only(found_in(*ORBAX[:-1]))
    assert judged(checkpoint, quiet=0.0, documents=COMMITTED) == Whole(CompleteBy.MARKER)
    assert isinstance(judged(checkpoint, documents={"_CHECKPOINT_METADATA": {"commit_timestamp_nsecs": None}}), Unfinished)


@pytest.mark.parametrize("missing", [path for path in ORBAX if "/d/" not in path])
def test_orbax_misses_what_the_step_before_had(missing: str) -> None:
    before = tuple(path.removeprefix("6/").replace("eca1", "9999") for path in ORBAX)
    checkpoint = only(found_in(*(path for path in ORBAX if path != missing)))
    assert isinstance(judged(checkpoint, documents=COMMITTED, predecessor=before), Unfinished)


# Megatron-LM

TRACKER = "latest_checkpointed_iteration.txt"
DISTRIBUTED = ("iter_0000200/common.pt", "iter_0000200/__0_0.distcp", "iter_0000200/.metadata", "iter_0000200/metadata.json")
SHARDS: Documents = {".metadata": {"shards": {"__0_0.distcp": 100}}}
LEGACY = tuple(f"iter_0000200/mp_rank_{rank:02}/{file}" for rank in (0, 1) for file in ("model_optim_rng.pt", "distrib_optim.pt"))


@pytest.mark.parametrize(("files", "documents"), [(DISTRIBUTED, SHARDS), (LEGACY, {})])
def test_megatron_is_whole_when_the_tracker_says_so(files: tuple[str, ...], documents: Documents) -> None:
    checkpoint = only(found_in(*files, TRACKER))
    assert (checkpoint.layout, checkpoint.step) == ("megatron", 200)
    assert [pointer.text for pointer in checkpoint.pointers] == ["200"]
    assert judged(checkpoint, quiet=0.0, documents={**documents, **says(TRACKER, "200\n")}) == Whole(CompleteBy.MARKER)
    assert judged(checkpoint, documents={**documents, **says(TRACKER, "100")}) == Unfinished(f"{TRACKER} says 100, not 200")


def test_megatron_behind_the_tracker_was_named_or_left_by_a_crash() -> None:
    checkpoint = only(found_in(*LEGACY, TRACKER))
    assert isinstance(judged(checkpoint, quiet=5.0, documents=says(TRACKER, "300")), Unfinished)
    assert judged(checkpoint, quiet=10.0, documents=says(TRACKER, "300")) == Whole(CompleteBy.MARKER)


def test_megatron_without_a_tracker_waits_for_long() -> None:
    checkpoint = only(found_in(*DISTRIBUTED))
    assert isinstance(judged(checkpoint, quiet=30.0, documents=SHARDS), Unfinished)
    assert judged(checkpoint, quiet=3600.0, documents=SHARDS) == Whole(CompleteBy.QUIET)


@pytest.mark.parametrize("missing", [*DISTRIBUTED, *LEGACY])
def test_megatron_is_not_whole_with_a_file_missing(missing: str) -> None:
    files = DISTRIBUTED if missing in DISTRIBUTED else LEGACY
    before = tuple(path.removeprefix("iter_0000200/") for path in files)
    checkpoint = only(found_in(*(path for path in files if path != missing), TRACKER))
    documents = {**SHARDS, **says(TRACKER, "200")}
    assert isinstance(judged(checkpoint, documents=documents, predecessor=before), Unfinished)


def test_iterations_of_somebody_else_are_not_megatrons() -> None:
    assert only(found_in("iter_0000200/weights.pt")).layout == "generic-dir"


# NeMo

NEMO2 = "gpt--loss=2.1-step=1000-consumed_samples=8000.0-last"
IN_FOLDER = tuple(f"{NEMO2}/{path}" for path in ("context/model.yaml", "weights/__0_0.distcp", "weights/.metadata", "weights/common.pt"))
NEMO_SHARDS: Documents = {"weights/.metadata": {"shards": {"__0_0.distcp": 100}}}


def test_a_nemo_folder_is_whole_when_its_marker_is_gone() -> None:
    marked = only(found_in(*IN_FOLDER, f"{NEMO2}-unfinished"))
    assert (marked.layout, marked.unit, marked.step) == ("nemo", Unit.DIRECTORY, 1000)
    assert isinstance(judged(marked, documents=NEMO_SHARDS), Unfinished)
    assert isinstance(judged(marked, documents=NEMO_SHARDS, declared=True), Unfinished)
    assert judged(only(found_in(*IN_FOLDER)), documents=NEMO_SHARDS) == Whole(CompleteBy.MARKER)


@pytest.mark.parametrize("ending", [".ckpt", "-EMA.ckpt"])
def test_a_nemo_file_and_its_average_have_one_marker(ending: str) -> None:
    stem = "megatron_gpt--val_loss=2.0-step=100-consumed_samples=800.0"
    marked = only(found_in(f"checkpoints/{stem}{ending}", f"checkpoints/{stem}-unfinished"))
    assert (marked.layout, marked.unit, marked.step) == ("nemo", Unit.FILE, 100)
    assert judged(marked) == Unfinished(f"{stem}-unfinished is still there")
    assert judged(only(found_in(f"checkpoints/{stem}{ending}"))) == Whole(CompleteBy.MARKER)


def test_nemo_ranks_are_one_checkpoint() -> None:
    stem = "megatron_gpt--val_loss=2.0-step=100-consumed_samples=800.0"
    files = tuple(f"ckpts/mp_rank_{rank:02}/{stem}.ckpt" for rank in (0, 1, 2))
    whole = only(found_in(*files))
    assert (whole.name, whole.unit, len(whole.files)) == (f"ckpts/{stem}", Unit.GROUP, 3)
    assert judged(whole) == Whole(CompleteBy.MARKER)
    assert isinstance(judged(only(found_in(*files, f"ckpts/{stem}-unfinished"))), Unfinished)
    before = tuple(file.path.replace("100", "50") for file in whole.files)
    assert isinstance(judged(only(found_in(*files[:2])), predecessor=before), Unfinished)
    assert isinstance(judged(only(found_in(*files[::2]))), Unfinished)


def test_markers_are_neither_checkpoints_nor_loose() -> None:
    inventory = identify(tree(*IN_FOLDER, stats={f"{NEMO2}-unfinished": stat(size=0)}))
    assert list(inventory.checkpoints) == [NEMO2]
    assert not inventory.loose


# Composer


def composer(batch: int, ranks: int = 1) -> tuple[str, ...]:
    return tuple(f"ep0-ba{batch}-rank{rank}.pt" for rank in range(ranks))


def test_composer_is_whole_when_the_link_leads_to_it() -> None:
    inventory = found_in(*composer(2, 2), *composer(4, 2), links={f"latest-rank{r}.pt": f"ep0-ba4-rank{r}.pt" for r in (0, 1)})
    newest = inventory.checkpoints["ep0-ba4"]
    assert list(inventory.checkpoints) == ["ep0-ba2", "ep0-ba4"]
    assert (newest.layout, newest.unit, newest.step, len(newest.files)) == ("composer", Unit.GROUP, 4, 2)
    assert dict(newest.links_beside) == {f"latest-rank{rank}.pt": f"ep0-ba4-rank{rank}.pt" for rank in (0, 1)}
    assert judged(newest, quiet=0.0) == Whole(CompleteBy.MARKER)
    assert not inventory.loose


def test_composer_ahead_of_its_link_is_still_being_saved() -> None:
    inventory = found_in(*composer(2), *composer(10), links={"latest-rank0.pt": "ep0-ba2-rank0.pt"})
    assert judged(inventory.checkpoints["ep0-ba10"]) == Unfinished("the link to the latest checkpoint does not lead to it yet")
    assert judged(inventory.checkpoints["ep0-ba2"], quiet=0.0) == Whole(CompleteBy.MARKER)


def test_composer_behind_its_link_or_without_one_is_told_by_quiet() -> None:
    behind = found_in(*composer(2), *composer(10), links={"latest-rank0.pt": "ep0-ba10-rank0.pt"}).checkpoints["ep0-ba2"]
    for checkpoint in (behind, only(found_in(*composer(2)))):
        assert isinstance(judged(checkpoint, quiet=5.0), Unfinished)
        assert judged(checkpoint, quiet=10.0) == Whole(CompleteBy.QUIET)


def test_composer_misses_a_rank() -> None:
    before = composer(2, 3)
    assert isinstance(judged(only(found_in(*composer(4, 2))), predecessor=before), Unfinished)
    assert isinstance(judged(only(found_in(*composer(4, 3)[::2]))), Unfinished)


def test_a_sharded_composer_checkpoint_is_a_folder() -> None:
    inventory = identify(
        tree("ep0-ba4/__0_0.distcp", "ep0-ba4/.metadata", links={"latest-rank0.pt": LocalLink("ep0-ba4", "ep0-ba4", True)})
    )
    checkpoint = only(inventory)
    assert (checkpoint.layout, checkpoint.unit) == ("composer", Unit.DIRECTORY)
    assert judged(checkpoint, quiet=0.0, documents=SHARDS) == Whole(CompleteBy.MARKER)
