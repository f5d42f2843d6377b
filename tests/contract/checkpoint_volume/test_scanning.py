"""What only a real disk has."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spotguard.adapters.disk.volume import LocalVolume
from spotguard.core.file_table import FileTable
from spotguard.core.layouts.identify import identify
from spotguard.ports.checkpoint_volume import CannotRead


@contextmanager
def volume(root: Path, *, exclude: tuple[str, ...] = (), follow_links: bool = False) -> Iterator[LocalVolume]:
    made = LocalVolume(root, exclude=exclude, follow_links=follow_links)
    try:
        yield made
    finally:
        made.close()


def fill(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


async def test_a_root_that_is_not_there_is_made(tmp_path: Path) -> None:
    with volume(tmp_path / "not" / "yet") as disk:
        await disk.scan()
    assert (tmp_path / "not" / "yet").is_dir()


async def test_a_root_that_cannot_be_made_or_listed_is_told(tmp_path: Path) -> None:
    fill(tmp_path, "file")
    with volume(tmp_path / "file" / "root") as disk, pytest.raises(CannotRead, match="root"):
        await disk.scan()
    with volume(tmp_path / "file") as disk, pytest.raises(CannotRead):
        await disk.scan()


async def test_a_root_that_went_away_and_came_back_is_scanned_again(tmp_path: Path) -> None:
    root = tmp_path / "root"
    fill(root, "a")
    with volume(root) as disk:
        await disk.scan()
        (root / "a").unlink()
        root.rmdir()
        assert not (await disk.scan()).files
        fill(root, "b")
        assert set((await disk.scan()).files) == {"b"}


async def test_sockets_and_fifos_are_named_and_never_opened(tmp_path: Path) -> None:
    fill(tmp_path, "step-1/w.pt")
    os.mkfifo(tmp_path / "step-1" / "pipe")
    (tmp_path / "to-pipe.pt").symlink_to("step-1/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with volume(tmp_path) as disk:
            found = await disk.scan()
            assert found.special == {"step-1/pipe", "to-pipe.pt", "s"}
            assert set(found.files) == {"step-1/w.pt"}
            for source in ("step-1/pipe", "s"):
                with pytest.raises(CannotRead, match="not a regular file"):
                    await disk.hold(source)  # a FIFO without a writer would block for ever
    assert identify(found).checkpoints["step-1"].broken is None


async def test_names_that_are_not_utf8_are_told_and_break_their_checkpoint(tmp_path: Path) -> None:
    fill(tmp_path, "step-1/w.pt", "good")
    base = os.fsencode(tmp_path)
    with open(base + b"/step-1/\xff.pt", "wb"), open(base + b"/loose\xfe", "wb"):
        os.mkdir(base + b"/folder\xfd")
    os.symlink(b"\xfc", base + b"/link")
    with volume(tmp_path) as disk:
        found = await disk.scan()
    assert found.unreadable == {
        "step-1/\\xff.pt": "a file whose name is not UTF-8",
        "loose\\xfe": "a file whose name is not UTF-8",
        "folder\\xfd": "a folder whose name is not UTF-8",
        "link": "a link that leads to a name which is not UTF-8",
    }
    inventory = identify(found)
    assert "not UTF-8" in (inventory.checkpoints["step-1"].broken or "")
    assert set(inventory.loose) == {"good"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything; test_filesystem_type.py has the arithmetic")
async def test_what_may_not_be_read_is_told(tmp_path: Path) -> None:
    fill(tmp_path, "step-1/w.pt", "closed-1/x")
    (tmp_path / "step-1" / "w.pt").chmod(0)
    (tmp_path / "closed-1").chmod(0)
    try:
        with volume(tmp_path) as disk:
            found = await disk.scan()
            with pytest.raises(CannotRead, match=r"step-1/w\.pt"):
                await disk.hold("step-1/w.pt")
    finally:
        (tmp_path / "closed-1").chmod(0o700)
    assert set(found.unreadable) == {"step-1/w.pt", "closed-1"}
    assert all(checkpoint.broken for checkpoint in identify(found).checkpoints.values())


async def test_excluded_entries_are_named_and_wholly_excluded_folders_not_entered(tmp_path: Path) -> None:
    fill(tmp_path, "a.log", "wandb/run-1/x", "step-1/w.pt", "step-1/b.log", "step-1/wandb/y", "keep.txt", "x.tmp", "a.tmp/y", "wandb.txt")
    with volume(tmp_path, exclude=("*.log", "wandb/**", "*.tmp")) as disk:
        found = await disk.scan()
        assert set(found.files) == {"step-1/w.pt", "keep.txt", "wandb.txt"}
        assert found.excluded == {"a.log", "x.tmp", "a.tmp", "wandb", "step-1/b.log", "step-1/wandb/y"}
        assert set(found.folders) == {"step-1"}
        assert await disk.scan(["wandb/run-1", "step-1/wandb/y", "a.tmp"]) == found
    assert identify(found).checkpoints["step-1"].excluded == ("b.log", "wandb/y")


async def test_links_that_lead_out_stay_links_unless_they_are_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    fill(outside, "w.pt", "deep/x.pt")
    (outside / "round").symlink_to(outside)
    (outside / "up").symlink_to(tmp_path)
    root = tmp_path / "root"
    fill(root, "step-1/a.pt")
    (root / "step-1" / "base").symlink_to(outside)
    (root / "step-1" / "one.pt").symlink_to(outside / "w.pt")
    with volume(root) as disk:
        found = await disk.scan()
    assert found.links["step-1/base"].resolved is None
    assert identify(found).checkpoints["step-1"].broken
    with volume(root, follow_links=True) as disk:
        followed = await disk.scan()
        assert followed.sources["step-1/base/deep/x.pt"] == str(outside / "deep" / "x.pt")
        assert followed.sources["step-1/one.pt"] == str(outside / "w.pt")
        held = await disk.hold(followed.sources["step-1/base/w.pt"])
        held.close()
        assert await disk.scan(["step-1/base/deep"]) == await disk.scan()
    assert [path for path in followed.unreadable if "round" in path]  # the circles were noticed
    assert len(followed.files) < 10


async def test_links_within_a_linked_root_are_inside(tmp_path: Path) -> None:
    fill(tmp_path, "real/step-1/w.pt")
    (tmp_path / "real" / "step-1" / "same").symlink_to(tmp_path / "real" / "step-1" / "w.pt")
    (tmp_path / "root").symlink_to("real")
    with volume(tmp_path / "root") as disk:
        found = await disk.scan()
        held = await disk.hold("step-1/w.pt")
        held.close()
    assert found.links["step-1/same"].resolved == "step-1/w.pt"


async def test_a_file_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    fill(tmp_path, "w.pt", "secret")
    with volume(tmp_path) as disk:
        await disk.scan()
        (tmp_path / "w.pt").unlink()
        (tmp_path / "w.pt").symlink_to("secret")
        with pytest.raises(CannotRead, match="link"):
            await disk.hold("w.pt")


async def test_a_folder_that_became_a_file_or_a_link_is_seen_by_a_look_at_what_was_in_it(tmp_path: Path) -> None:
    fill(tmp_path, "a/b/c", "other/c")
    with volume(tmp_path) as disk:
        await disk.scan()
        (tmp_path / "a" / "b" / "c").unlink()
        (tmp_path / "a" / "b").rmdir()
        (tmp_path / "a" / "b").symlink_to("../other")
        assert await disk.scan(["a/b/c"]) == await disk.scan()
        (tmp_path / "a" / "b").unlink()
        fill(tmp_path, "a/b")
        assert await disk.scan(["a/b/c"]) == await disk.scan()


async def test_our_own_folders_are_not_even_listed(tmp_path: Path) -> None:
    fill(tmp_path, ".spotguard/x", "sft/.spotguard-tmp/y", "sft/.spotguard-quarantine/checkpoint-1/z", "sft/.spotguard/kept")
    with volume(tmp_path) as disk:
        found = await disk.scan()
        assert set(found.files) == {"sft/.spotguard/kept"}
        assert await disk.scan(["sft/.spotguard-tmp/y", ".spotguard", "sft"]) == found


async def test_an_unchanged_tree_costs_no_second_copy(tmp_path: Path) -> None:
    fill(tmp_path, "a/b", "c")
    with volume(tmp_path) as disk:
        first, second = await disk.scan(), await disk.scan()
    before, after = FileTable.of(first.files), FileTable.of(second.files)
    assert all(before.packed(folder) is after.packed(folder) for folder in ("", "a"))


async def test_many_folders(tmp_path: Path) -> None:
    for number in range(1500):
        (tmp_path / f"d{number % 30}" / f"e{number}").mkdir(parents=True)
    deep = tmp_path
    for _ in range(300):
        deep /= "d"
    deep.mkdir(parents=True)
    fill(deep, "bottom.txt")
    with volume(tmp_path) as disk:
        found = await disk.scan()
    assert len(found.folders) == 1500 + 30 + 300
    assert len(identify(found).loose) + len(identify(found).unreadable) == 1
