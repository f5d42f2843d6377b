"""Each framework's own tree: whole when all of it is there, and never when a file of it is missing, cut off or empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from spotguard.core.checkpoint import CompleteBy, LocalCheckpoint, Unfinished, Unit, Whole
from spotguard.core.layouts.assess import assess, probes_for
from spotguard.core.layouts.base import Circumstances
from spotguard.core.layouts.identify import identify
from spotguard.core.layouts.registry import LAYOUTS
from spotguard.core.structure import Structure, must_be_opened, structure_of
from tests.unit.core.layout_world import findings, judged, stat, tree

STEP = 200
ZERO = "zero_pp_rank_{}_mp_rank_00_optim_states.pt"


@dataclass(frozen=True)
class Framework:
    """One save of a framework, its files in the order in which they are written."""

    id: str
    layout: str
    name: str
    files: tuple[str, ...]
    """Relative to the checkpoint's folder; of a file, the empty path."""
    documents: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    """Pointer files beside it, written last."""
    spare: tuple[str, ...] = ()
    """What it may lack: the rule says why."""

    def paths(self) -> list[str]:
        return [f"{self.name}/{file}" if file else self.name for file in self.files]

    def find(self, *gone: str, empty: str | None = None) -> LocalCheckpoint | None:
        kept = [file for file in self.files if file not in gone]
        paths = [f"{self.name}/{file}" if file else self.name for file in kept]
        stats = {}
        if empty is not None:
            path = f"{self.name}/{empty}" if empty else self.name
            stats[path] = stat(self.files.index(empty), size=0, inode=7)
        found = identify(tree(*paths, *self.beside, "notes.txt", stats=stats))
        return found.checkpoints.get(self.name)


HF = ("config.json", "model.safetensors", "training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")
STATE = {"trainer_state.json": {"global_step": STEP}}
SHARDS = {"shards": {"__0_0.distcp": 100, "__1_0.distcp": 100}}

FRAMEWORKS = [
    Framework("hf", "hf-trainer", f"sft/checkpoint-{STEP}", HF, STATE, spare=("rng_state.pth",)),
    Framework(
        "hf-fsdp",
        "hf-trainer",
        f"checkpoint-{STEP}",
        (
            "pytorch_model_fsdp_0/__0_0.distcp",
            "pytorch_model_fsdp_0/__1_0.distcp",
            "pytorch_model_fsdp_0/.metadata",
            "optimizer_0/__0_0.distcp",
            "optimizer_0/__1_0.distcp",
            "optimizer_0/.metadata",
            "scheduler.pt",
            "rng_state_0.pth",
            "rng_state_1.pth",
            "trainer_state.json",
        ),
        STATE | {"pytorch_model_fsdp_0/.metadata": SHARDS, "optimizer_0/.metadata": SHARDS},
        spare=("rng_state_0.pth", "rng_state_1.pth"),
    ),
    Framework(
        "hf-deepspeed",
        "hf-trainer",
        f"checkpoint-{STEP}",
        (
            "config.json",
            "model.safetensors",
            f"global_step{STEP}/mp_rank_00_model_states.pt",
            f"global_step{STEP}/bf16_{ZERO.format(0)}",
            f"global_step{STEP}/bf16_{ZERO.format(1)}",
            "latest",
            "zero_to_fp32.py",
            "rng_state_0.pth",
            "rng_state_1.pth",
            "trainer_state.json",
        ),
        STATE | {"latest": {"text": f"global_step{STEP}"}},
        spare=("rng_state_0.pth", "rng_state_1.pth"),
    ),
    Framework("lightning", "lightning", f"v/epoch=3-step={STEP}.ckpt", ("",)),
    Framework("lightning-last", "lightning", "last.ckpt", ("",)),
    Framework(
        "lightning-fsdp",
        "lightning",
        f"epoch=3-step={STEP}.ckpt",
        ("__0_0.distcp", "__1_0.distcp", ".metadata", "meta.pt"),
        {".metadata": SHARDS},
    ),
    Framework(
        "lightning-deepspeed",
        "lightning",
        f"epoch=3-step={STEP}.ckpt",
        ("checkpoint/mp_rank_00_model_states.pt", f"checkpoint/{ZERO.format(0)}", f"checkpoint/{ZERO.format(1)}", "latest"),
        {"latest": {"text": "checkpoint"}},
    ),
    Framework("torchtitan", "dcp", f"step-{STEP}", ("__0_0.distcp", "__1_0.distcp", ".metadata"), {".metadata": SHARDS}),
    Framework(
        "zero-2",
        "deepspeed",
        f"run/global_step{STEP}",
        ("mp_rank_00_model_states.pt", ZERO.format(0), ZERO.format(1)),
        {"run/latest": {"text": f"global_step{STEP}"}},
        beside=("run/latest",),
    ),
    Framework(
        "zero-3",
        "deepspeed",
        f"global_step{STEP}",
        (*(f"zero_pp_rank_{rank}_mp_rank_00_{what}_states.pt" for rank in range(2) for what in ("model", "optim")),),
        {"latest": {"text": f"global_step{STEP}"}},
        beside=("latest",),
    ),
    Framework(
        "accelerate",
        "accelerate",
        "checkpoints/checkpoint_3",
        (
            "model.safetensors",
            "optimizer.bin",
            "scheduler.bin",
            "random_states_0.pkl",
            "random_states_1.pkl",
            "custom_checkpoint_0.pkl",
        ),
    ),
    Framework("nanogpt", "single-file", "out/ckpt.pt", ("",)),
]


def each_file() -> list[object]:
    return [pytest.param(framework, file, id=f"{framework.id}-{file or 'file'}") for framework in FRAMEWORKS for file in framework.files]


def answer(framework: Framework, checkpoint: LocalCheckpoint, *, torn: tuple[str, ...] = (), known: bool = True) -> object:
    """After any length of quiet: what is missing never comes."""
    predecessor = framework.files if known and framework.files != ("",) else None
    return judged(checkpoint, documents=framework.documents, torn=torn, predecessor=predecessor)


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.id)
def test_auto_knows_it_and_it_is_whole(framework: Framework) -> None:
    checkpoint = framework.find()
    assert checkpoint is not None
    assert checkpoint.layout == framework.layout
    assert isinstance(answer(framework, checkpoint), Whole)
    assert isinstance(answer(framework, checkpoint, known=False), Whole)


@pytest.mark.parametrize(("framework", "gone"), each_file())
def test_without_one_of_its_files_it_is_never_whole(framework: Framework, gone: str) -> None:
    checkpoint = framework.find(gone)
    if checkpoint is None:
        assert framework.files == ("",)
        return
    found = answer(framework, checkpoint)
    assert isinstance(found, Whole) == (gone in framework.spare), found
    assert isinstance(found, Whole) or not found.waits_only_for_quiet  # type: ignore[attr-defined]


@pytest.mark.parametrize(("framework", "torn"), each_file())
def test_with_one_of_its_files_cut_off_it_is_never_whole(framework: Framework, torn: str) -> None:
    checkpoint = framework.find()
    assert checkpoint is not None
    last = torn or framework.name.rpartition("/")[2]
    if last.endswith((".distcp", ".py")):
        return  # no end of their own; shards are fsynced before `.metadata` gets its name
    assert isinstance(answer(framework, checkpoint, torn=(last,)), Unfinished)


@pytest.mark.parametrize(("framework", "empty"), each_file())
def test_with_one_of_its_files_empty_it_is_never_whole(framework: Framework, empty: str) -> None:
    checkpoint = framework.find(empty=empty)
    assert checkpoint is not None
    if empty.endswith(".py"):
        return
    assert isinstance(answer(framework, checkpoint), Unfinished)


@pytest.mark.parametrize("framework", [f for f in FRAMEWORKS if f.beside], ids=lambda framework: framework.id)
def test_a_pointer_beside_it_decides_and_is_its_companion(framework: Framework) -> None:
    checkpoint = framework.find()
    assert checkpoint is not None
    assert [(pointer.file.path, pointer.text) for pointer in checkpoint.pointers] == [(framework.beside[0], f"global_step{STEP}")]
    other = {framework.beside[0]: {"text": "global_step100"}}
    assert isinstance(judged(checkpoint, documents=other), Unfinished)
    later = {framework.beside[0]: {"text": f"global_step{STEP + 100}\n"}}
    assert isinstance(judged(checkpoint, documents=later), Whole)
    assert isinstance(judged(checkpoint, documents={}), Unfinished)


def test_deepspeed_whose_latest_is_never_written_is_whole_after_long_quiet_once_the_run_is_known() -> None:
    files = ("mp_rank_00_model_states.pt", ZERO.format(0), ZERO.format(1))
    checkpoint = identify(tree(*(f"best/{file}" for file in files))).checkpoints["best"]
    assert isinstance(judged(checkpoint), Unfinished)
    assert isinstance(judged(checkpoint, quiet=59, predecessor=files), Unfinished)
    assert judged(checkpoint, quiet=60, predecessor=files) == Whole(CompleteBy.QUIET)


def test_dcp_is_whole_at_its_metadata_once_the_run_is_known() -> None:
    titan = next(f for f in FRAMEWORKS if f.id == "torchtitan")
    checkpoint = titan.find()
    assert checkpoint is not None
    assert judged(checkpoint, documents=titan.documents, quiet=0, predecessor=titan.files) == Whole(CompleteBy.MARKER)
    first = judged(checkpoint, documents=titan.documents, quiet=9)
    assert isinstance(first, Unfinished)
    assert first.waits_only_for_quiet


def test_dcp_with_shards_newer_than_its_metadata_is_being_saved_again() -> None:
    found = tree("step-5/__0_0.distcp", "step-5/.metadata", stats={"step-5/__0_0.distcp": stat(50)})
    again = judged(identify(found).checkpoints["step-5"], documents={".metadata": {"shards": {"__0_0.distcp": 100}}})
    assert again == Unfinished("__0_0.distcp is newer than .metadata: it is being saved again")


@pytest.mark.parametrize("excluded", [True, False])
def test_dcp_with_the_metadata_to_be_is_not_whole_though_that_name_is_excluded(excluded: bool) -> None:
    files = ["step-5/__0_0.distcp", "step-5/.metadata", *(() if excluded else ("step-5/.metadata.tmp",))]
    found = tree(*files, excluded=["step-5/.metadata.tmp"] if excluded else ())
    checkpoint = identify(found).checkpoints["step-5"]
    assert judged(checkpoint, documents={".metadata": {"shards": {"__0_0.distcp": 100}}}) == Unfinished(".metadata.tmp is still there")


def test_dcp_of_fewer_ranks_is_whole_at_once_because_its_metadata_names_the_shards() -> None:
    before = ("__0_0.distcp", "__1_0.distcp", ".metadata")
    checkpoint = identify(tree("step-5/__0_0.distcp", "step-5/.metadata")).checkpoints["step-5"]
    documents = {".metadata": {"shards": {"__0_0.distcp": 100}}}
    assert judged(checkpoint, quiet=0, documents=documents, predecessor=before) == Whole(CompleteBy.MARKER)


def test_dcp_in_the_watch_root_itself_is_one_group() -> None:
    found = identify(tree("__0_0.distcp", ".metadata", "notes.txt"))
    checkpoint = found.checkpoints["distcp"]
    assert (checkpoint.unit, checkpoint.in_place, [f.path for f in checkpoint.files]) == (Unit.GROUP, True, [".metadata", "__0_0.distcp"])
    assert list(found.loose) == ["notes.txt"]


@pytest.mark.parametrize("layout", ["dcp", "deepspeed", "hf-trainer", "generic-dir"])
def test_a_folder_that_looks_like_two_frameworks_must_be_whole_by_both(layout: str) -> None:
    """One owner, and the structure of both is asked for, whichever layout claims it."""
    files = ["__0_0.distcp", ".metadata", "mp_rank_00_model_states.pt", ZERO.format(0), "model.safetensors", "trainer_state.json"]
    found = identify(tree(*(f"checkpoint-5/{file}" for file in files), "latest"), layout)
    checkpoint = found.checkpoints["checkpoint-5"]
    documents: dict[str, Mapping[str, object]] = {
        "latest": {"text": "checkpoint-5"},
        "trainer_state.json": {"global_step": 5},
    }
    unnamed = judged(checkpoint, documents=documents | {".metadata": {"shards": {"__0_0.distcp": 100, "__1_0.distcp": 100}}})
    assert unnamed == Unfinished("__1_0.distcp is not there, which .metadata names")
    for gone in (".metadata", "mp_rank_00_model_states.pt"):
        torn = identify(tree(*(f"checkpoint-5/{file}" for file in files if file != gone), "latest"), layout)
        assert isinstance(judged(torn.checkpoints["checkpoint-5"], documents=documents), Unfinished)


@pytest.mark.parametrize("ended", [True, False])
def test_a_single_file_is_whole_at_its_end_or_else_by_quiet(ended: bool) -> None:
    checkpoint = identify(tree("ckpt.pt")).checkpoints["ckpt.pt"]
    told = findings(checkpoint, ended=ended)
    soon = assess(checkpoint, told, Circumstances(0.3, 10))
    assert isinstance(soon, Whole) == ended
    assert isinstance(assess(checkpoint, told, Circumstances(0.1, 10)), Unfinished)
    assert isinstance(assess(checkpoint, told, Circumstances(10, 10)), Whole)


def test_what_is_written_over_again_and_again_is_marked_so() -> None:
    found = identify(tree("ckpt.pt", "last.ckpt", "epoch=1-step=2.ckpt", "step-5/__0_0.distcp", "dcp/__0_0.distcp")).checkpoints
    assert {name for name, checkpoint in found.items() if checkpoint.in_place} == {"ckpt.pt", "last.ckpt", "dcp"}


def test_every_layout_knows_the_files_that_must_be_opened() -> None:
    for framework in FRAMEWORKS:
        checkpoint = framework.find()
        assert checkpoint is not None
        asked = {probe.source for probe in probes_for(checkpoint)}
        wanted = {path for path in framework.paths() if must_be_opened(structure_of(path))}
        assert wanted <= asked
        assert all(probe.structure is not Structure.ANY for probe in probes_for(checkpoint))
        assert framework.layout in LAYOUTS
