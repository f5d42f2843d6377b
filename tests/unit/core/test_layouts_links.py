from __future__ import annotations

import pytest

from spotguard.core.checkpoint import LocalLink
from spotguard.core.layouts.identify import identify
from tests.unit.core.layout_world import tree


def link(target: str, resolved: str | None, *, folder: bool = False) -> LocalLink:
    return LocalLink(target, resolved, folder)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("step-1/latest", link("w.pt", "step-1/w.pt")),
        ("step-1/sub/up", link("../w.pt", "step-1/w.pt")),
        ("step-1/sub/self", link("..", "step-1", folder=True)),
        ("step-1/later", link("not-there-yet", None)),
    ],
)
def test_a_link_that_stays_inside_is_stored_as_a_link(path: str, found: LocalLink) -> None:
    checkpoint = identify(tree("step-1/w.pt", "step-1/sub/x", links={path: found})).checkpoints["step-1"]
    assert checkpoint.links == ((path.removeprefix("step-1/"), found.target),)
    assert checkpoint.broken is None
    assert len(checkpoint.files) == 2


@pytest.mark.parametrize(
    "found",
    [
        link("../shared/base.safetensors", "shared/base.safetensors"),
        link("/root/shared/base.safetensors", "shared/base.safetensors"),
        link("../step-1/../shared/base.safetensors", "shared/base.safetensors"),
    ],
)
def test_a_link_to_a_file_elsewhere_under_the_root_is_that_file(found: LocalLink) -> None:
    inventory = identify(tree("step-1/w.pt", "shared/base.safetensors", links={"step-1/base": found}))
    file = next(file for file in inventory.checkpoints["step-1"].files if file.path == "base")
    assert file.source == "shared/base.safetensors"
    assert file.stat == inventory.checkpoints["shared/base.safetensors"].files[0].stat
    assert not inventory.checkpoints["step-1"].links


@pytest.mark.parametrize("target", ["/root/step-1/w.pt", "../step-1/w.pt"])
def test_a_link_whose_text_leaves_the_checkpoint_is_content_even_when_it_comes_back(target: str) -> None:
    checkpoint = identify(tree("step-1/w.pt", links={"step-1/again": link(target, "step-1/w.pt")})).checkpoints["step-1"]
    assert [(file.path, file.source) for file in checkpoint.files] == [("again", "step-1/w.pt"), ("w.pt", "step-1/w.pt")]
    assert not checkpoint.links


def test_a_link_to_a_folder_under_the_root_brings_all_of_it() -> None:
    found = tree(
        "step-1/w.pt",
        "shared/a",
        "shared/deep/b",
        links={"step-1/base": link("../shared", "shared", folder=True), "shared/more": link("../other", "other", folder=True)},
        stats={"other/c": tree("other/c").files["other/c"]},
        excluded=["shared/x.log"],
    )
    checkpoint = identify(found).checkpoints["step-1"]
    assert {file.path: file.source for file in checkpoint.files} == {
        "w.pt": "step-1/w.pt",
        "base/a": "shared/a",
        "base/deep/b": "shared/deep/b",
        "base/more/c": "other/c",
    }
    assert [path for path, _ in checkpoint.folders] == ["base", "base/deep", "base/more"]
    assert checkpoint.excluded == ("base/x.log",)


@pytest.mark.parametrize(
    ("path", "found", "word"),
    [
        ("step-1/out", link("/data/w.pt", None), "out of the watch root"),
        ("step-1/out", link("../../w.pt", None), "out of the watch root"),
        ("step-1/gone", link("../gone", None), "to nothing"),
        ("step-1/round", link("/root", "", folder=True), "holds it"),
        ("step-1/round", link("/root/step-1", "step-1", folder=True), "holds it"),
        ("step-1/hidden", link("../.spotguard/x", ".spotguard/x"), "not looked at"),
    ],
)
def test_any_other_link_breaks_the_checkpoint_and_is_named(path: str, found: LocalLink, word: str) -> None:
    checkpoint = identify(tree("step-1/w.pt", ".spotguard/x", links={path: found})).checkpoints["step-1"]
    assert path.removeprefix("step-1/") in (checkpoint.broken or "")
    assert word in (checkpoint.broken or "")


def test_links_in_a_circle_end() -> None:
    found = tree(
        "step-1/w.pt",
        "a/x",
        "b/y",
        links={
            "step-1/in": link("../a", "a", folder=True),
            "a/to": link("../b", "b", folder=True),
            "b/to": link("../a", "a", folder=True),
        },
    )
    assert "holds it" in (identify(found).checkpoints["step-1"].broken or "")


def test_links_that_double_at_each_level_end() -> None:
    depth = 30
    links = {f"l{n}/{side}": link(f"../l{n + 1}", f"l{n + 1}", folder=True) for n in range(depth) for side in "ab"}
    links["step-1/all"] = link("../l0", "l0", folder=True)
    found = tree("step-1/w.pt", *(f"l{n}/f" for n in range(depth + 1)), links=links)
    assert "more than" in (identify(found).checkpoints["step-1"].broken or "")


def test_outside_of_checkpoints_a_link_to_a_file_is_that_file_and_one_to_a_folder_is_nothing() -> None:
    inventory = identify(
        tree(
            "sft/epoch=1-step=5.ckpt",
            "notes.txt",
            "checkpoint-5/trainer_state.json",
            links={
                "sft/best.pt": link("epoch=1-step=5.ckpt", "sft/epoch=1-step=5.ckpt"),
                "copy.txt": link("notes.txt", "notes.txt"),
                "checkpoint-9": link("checkpoint-5", "checkpoint-5", folder=True),
                "gone.ckpt": link("nothing.ckpt", None),
            },
        )
    )
    assert set(inventory.checkpoints) == {"sft/epoch=1-step=5.ckpt", "sft/best.pt", "checkpoint-5"}
    best = inventory.checkpoints["sft/best.pt"]
    assert [(file.path, file.source) for file in best.files] == [("best.pt", "sft/epoch=1-step=5.ckpt")]
    assert inventory.loose["copy.txt"].source == "notes.txt"
    assert set(inventory.loose) == {"notes.txt", "copy.txt"}
    assert not inventory.unreadable


def test_outside_of_checkpoints_a_link_that_leads_out_is_told_and_a_checkpoint_by_name_is_broken() -> None:
    inventory = identify(
        tree(
            links={
                "data": link("/mnt/data", None, folder=True),
                "checkpoint-7": link("/mnt/checkpoint-7", None, folder=True),
                "last.ckpt": link("/mnt/last.ckpt", None),
            }
        )
    )
    assert set(inventory.unreadable) == {"data", "checkpoint-7", "last.ckpt"}
    assert {name: c.layout for name, c in inventory.checkpoints.items()} == {"checkpoint-7": "hf-trainer", "last.ckpt": "lightning"}
    assert all("leads out" in (checkpoint.broken or "") for checkpoint in inventory.checkpoints.values())


def test_what_was_followed_out_of_the_root_is_opened_where_it_lies() -> None:
    plain = tree("step-1/w.pt", "step-1/base/x.pt")
    followed = type(plain)(plain.files, plain.folders, {}, sources={"step-1/base/x.pt": "/data/base/x.pt"})
    sources = {file.path: file.source for file in identify(followed).checkpoints["step-1"].files}
    assert sources == {"w.pt": "step-1/w.pt", "base/x.pt": "/data/base/x.pt"}
