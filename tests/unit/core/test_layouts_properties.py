"""What holds of any tree: each file is in one place, and the order of a listing is of no matter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.checkpoint import LocalCheckpoint, LocalLink, Tree, Unit
from spotguard.core.layouts.identify import identify
from spotguard.core.layouts.names import LAYOUT_NAMES
from tests.unit.core.layout_world import tree

NAMES = st.sampled_from(
    [
        "checkpoint-1",
        "checkpoint-20",
        "step-3",
        "a",
        "b",
        "run-0",
        ".spotguard",
        ".spotguard-tmp",
        "tmp-checkpoint-4",
        "x.pt",
        "model.safetensors",
        "trainer_state.json",
        "scheduler.pt",
        "config.json",
        "last_sync.json",
        "training_state.json",
        "notes.txt",
        "epoch=1.ckpt",
        "ünïcode",
        "events.out.tfevents.1",
        "last.ckpt",
        "ckpt.pt",
        "__0_0.distcp",
        "__1_0.distcp",
        ".metadata",
        "meta.pt",
        "latest",
        "global_step5",
        "mp_rank_00",
        "mp_rank_00_model_states.pt",
        "zero_pp_rank_0_mp_rank_00_optim_states.pt",
        "random_states_0.pkl",
        "optimizer.bin",
        "7.orbax-checkpoint-tmp",
        "7",
        "_CHECKPOINT_METADATA",
        "ep1-ba2-rank0.pt",
        "ep1-ba2-rank1.pt",
        "iter_0000005",
        "latest_checkpointed_iteration.txt",
        "m-step=5.ckpt-unfinished",
        "m-step=5",
        "ckpt-5.index",
        "ckpt-5.data-00000-of-00001",
        "checkpoint",
        "latest.weights.h5",
        "training_metadata.json",
        "model_5.ubj",
        "x.sagemaker-uploading",
    ]
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Trees in which no path is both file and folder, with links to anything."""
    paths: dict[str, None] = {}
    for path in draw(st.lists(PATHS, max_size=12, unique=True)):
        if not any(other.startswith(f"{path}/") or path.startswith(f"{other}/") for other in paths):
            paths[path] = None
    chosen = sorted(paths)
    linked = set(draw(st.lists(st.sampled_from(chosen), max_size=3))) if chosen else set()
    files = [path for path in chosen if path not in linked]
    plain = tree(*files, folders={p.rpartition("/")[0] for p in linked if "/" in p})
    targets = st.sampled_from([None, "", *plain.files, *plain.folders])
    links = {}
    for link in sorted(linked):
        resolved = draw(targets)
        links[link] = LocalLink(f"/root/{resolved}", resolved, resolved is not None and resolved not in plain.files)
    return Tree(plain.files, plain.folders, links)


def owns(checkpoint: LocalCheckpoint, path: str) -> bool:
    if checkpoint.unit is Unit.DIRECTORY:
        return path.startswith(f"{checkpoint.name}/")
    above = f"{checkpoint.stage}/" if checkpoint.stage else ""
    return any(path == above + file.path for file in checkpoint.files)


@given(trees(), st.sampled_from(LAYOUT_NAMES))
def test_every_file_ends_up_in_exactly_one_place(found: Tree, layout: str) -> None:
    inventory = identify(found, layout)
    inside = [path for c in inventory.checkpoints.values() for path in found.files if owns(c, path)]
    assert len(inside) == len(set(inside))
    assert not set(inside) & set(inventory.loose)
    for path in found.files:
        ours = path.startswith((".spotguard", "last_sync.json")) or "/.spotguard-tmp/" in f"/{path}"
        temporary = "tmp-checkpoint-4/" in path or ".orbax-checkpoint-tmp/" in path or path.endswith(".sagemaker-uploading")
        if ours or temporary:
            assert path not in inventory.loose
        else:
            assert (path in inventory.loose) != (path in inside)
    for checkpoint in inventory.checkpoints.values():
        paths = [file.path for file in checkpoint.files]
        assert paths == sorted(set(paths))
        for source in (file.source for file in checkpoint.files):
            assert not source.startswith(".spotguard")
            assert not any(part in f"/{source}" for part in ("/.spotguard-tmp/", "/tmp-checkpoint-4/"))


@given(trees())
def test_the_order_of_a_listing_does_not_matter(found: Tree) -> None:
    backwards = Tree(
        dict(reversed(list(found.files.items()))), dict(reversed(list(found.folders.items()))), dict(reversed(list(found.links.items())))
    )
    assert identify(found) == identify(backwards)
    assert list(identify(found).loose) == list(identify(backwards).loose)
