"""What a restore may rely on when it writes: names appear whole, nothing leads out, nothing of the trainer's is lost."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme

from spotguard.adapters.disk.placement import LocalPlacement
from spotguard.ports.placement import Arrived, Move, NoSpace, PlacementFailed, PlacementRefused, Stage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def placement(root: Path) -> LocalPlacement:
    return LocalPlacement(str(root))


async def put(stage: Stage, path: str, content: bytes) -> None:
    await stage.create({path: len(content)})
    (fd,) = await stage.open_all([path])
    os.pwrite(fd, content, 0)
    await stage.finish([Arrived(path, fd, 0o644, 1)])


def entries(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


async def test_a_staged_folder_gets_its_name_by_one_rename(placement: LocalPlacement, root: Path) -> None:
    stage = await placement.stage("sft/c-1", "t")
    await put(stage, "deep/file", b"content")
    await stage.folder("deep", 0o711)
    await stage.link("link", "deep/file")
    await stage.stamp("deep/file", mode=0o640, mtime_ns=123_456_789)
    assert not (root / "sft/c-1").exists()
    assert await placement.publish(stage, [Move("", "sft/c-1")], aside="x") is None
    found = (root / "sft/c-1/deep/file").stat()
    assert (found.st_mtime_ns, found.st_mode & 0o777) == (123_456_789, 0o640)
    assert (root / "sft/c-1/deep").stat().st_mode & 0o777 == 0o711
    assert (root / "sft/c-1/link").read_bytes() == b"content"
    assert entries(root) == ["sft", "sft/c-1", "sft/c-1/deep", "sft/c-1/deep/file", "sft/c-1/link"]


async def test_what_had_the_name_goes_to_the_quarantine(placement: LocalPlacement, root: Path) -> None:
    (root / "c-1").mkdir(parents=True)
    (root / "c-1/old").write_text("old")
    stage = await placement.stage("c-1", "t")
    await put(stage, "new", b"new")
    aside = await placement.publish(stage, [Move("", "c-1")], aside="c-1-stamp")
    assert aside == str(root / ".spotguard-quarantine/c-1-stamp")
    assert entries(root / "c-1") == ["new"]
    assert entries(Path(aside)) == ["old"]
    (root / "c-1/more").write_text("more")
    assert await placement.set_aside(["c-1"], "c-1-stamp") == f"{aside}-2"


async def test_several_files_are_set_aside_under_their_own_paths(placement: LocalPlacement, root: Path) -> None:
    (root / "a").mkdir(parents=True)
    (root / "a/x").write_text("1")
    (root / "x").write_text("2")
    where = await placement.set_aside(["a/x", "x"], "group-stamp")
    assert entries(Path(where)) == ["a", "a/x", "x"]


async def test_a_killed_restore_is_taken_up_and_others_are_swept(placement: LocalPlacement, root: Path) -> None:
    stage = await placement.stage("c-1", "one")
    await put(stage, "file", b"content")
    await put(stage, "other", b"content")
    await stage.end(keep=True)
    again = await placement.stage("c-1", "one")
    lying = await placement.lying(again.path("file"))
    assert lying is not None
    assert lying.size == 7
    assert await placement.checksum(again.path("file")) == crc64nvme(b"content")
    await again.keep_only(["file"])
    assert await placement.lying(again.path("other")) is None
    await again.end(keep=True)
    other = await placement.stage("c-1", "two")
    assert await placement.lying(other.path("file")) is None
    await other.end(keep=False)
    assert entries(root) == []


async def test_a_stage_in_use_is_not_swept_by_another(placement: LocalPlacement) -> None:
    stage = await placement.stage("c-1", "one")
    await put(stage, "file", b"content")
    other = await placement.stage("c-2", "two")
    assert await placement.lying(stage.path("file")) is not None
    with pytest.raises(PlacementFailed, match="another restore"):
        await placement.stage("c-1", "one")
    await other.end(keep=False)
    await stage.end(keep=False)


async def test_only_one_restore_at_a_time_works_in_a_root(root: Path) -> None:
    order = []

    async def restore(name: str) -> None:
        async with LocalPlacement(str(root)).exclusive():
            order.append(f"{name} in")
            await asyncio.sleep(0.05)
            order.append(f"{name} out")

    await asyncio.gather(*(restore(name) for name in "abc"))
    assert [order[at].split()[0] == order[at + 1].split()[0] for at in (0, 2, 4)] == [True, True, True]
    assert entries(root) == []


async def test_a_file_that_is_here_is_taken_by_a_hard_link(placement: LocalPlacement, root: Path) -> None:
    (root / "c-1").mkdir(parents=True)
    (root / "c-1/file").write_text("x")
    stage = await placement.stage("c-2", "t")
    assert await stage.take("sub/file", "c-1/file")
    assert not await stage.take("none", "c-1/none")
    await placement.publish(stage, [Move("", "c-2")], aside="x")
    assert (root / "c-2/sub/file").stat().st_ino == (root / "c-1/file").stat().st_ino


@pytest.mark.parametrize("path", ["out/file", "out/deep/file"])
async def test_no_verb_goes_through_a_link_that_leads_out(placement: LocalPlacement, root: Path, tmp_path: Path, path: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root.mkdir()
    (root / "out").symlink_to(outside)
    with pytest.raises(PlacementRefused):
        await placement.lying(path)
    with pytest.raises(PlacementRefused):
        await placement.write(path, b"x", mode=0o600, mtime_ns=None)
    with pytest.raises(PlacementRefused):
        await placement.stage(path, "t")
    with pytest.raises(PlacementRefused):
        await placement.set_aside([path], "x")
    stage = await placement.stage("", "t")
    await put(stage, "file", b"x")
    with pytest.raises(PlacementRefused):
        await placement.publish(stage, [Move("file", path)], aside="x")
    await stage.end(keep=False)
    assert entries(outside) == []


async def test_a_link_that_stays_inside_is_followed(placement: LocalPlacement, root: Path) -> None:
    (root / "real").mkdir(parents=True)
    (root / "alias").symlink_to("real")
    await placement.write("alias/file", b"x", mode=0o600, mtime_ns=5)
    assert (root / "real/file").stat().st_mtime_ns == 5


async def test_a_temporary_folder_that_is_a_link_is_refused(placement: LocalPlacement, root: Path, tmp_path: Path) -> None:
    root.mkdir()
    (root / ".spotguard-tmp").symlink_to(tmp_path)
    with pytest.raises(PlacementRefused):
        await placement.stage("c-1", "t")
    with pytest.raises(PlacementRefused):
        async with placement.exclusive():
            pass


async def test_a_planted_link_in_a_stage_is_not_written_through(placement: LocalPlacement, root: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("mine")
    stage = await placement.stage("c-1", "t")
    (root / stage.path("dir")).symlink_to(victim)
    (root / stage.path("file")).symlink_to(victim / "file")
    await put(stage, "dir/file", b"theirs")
    await put(stage, "file", b"theirs")
    await stage.end(keep=False)
    assert (victim / "file").read_text() == "mine"


async def test_a_small_file_is_replaced_whole_and_owned_like_its_folder(placement: LocalPlacement, root: Path) -> None:
    (root / "sub").mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(root / "sub", 1234, 4321)
    await placement.write("sub/state.json", b"one", mode=0o600, mtime_ns=None)
    await placement.write("sub/state.json", b"two", mode=0o640, mtime_ns=99)
    found = (root / "sub/state.json").stat()
    assert ((root / "sub/state.json").read_bytes(), found.st_mode & 0o777, found.st_mtime_ns) == (b"two", 0o640, 99)
    assert (found.st_uid, found.st_gid) == ((root / "sub").stat().st_uid, (root / "sub").stat().st_gid)
    assert entries(root) == ["sub", "sub/state.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
async def test_what_is_restored_is_owned_like_the_folder_it_goes_into(placement: LocalPlacement, root: Path) -> None:
    root.mkdir()
    os.chown(root, 1234, 4321)
    stage = await placement.stage("new/stage/c-1", "t")
    await put(stage, "sub/file", b"x")
    await stage.link("link", "sub")
    await stage.stamp("sub/file", mode=0o600, mtime_ns=1)
    await placement.publish(stage, [Move("", "new/stage/c-1")], aside="x")
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in root.rglob("*")}
    assert owners == {(1234, 4321)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small tmpfs can not be mounted: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


async def test_a_full_disk_is_found_before_the_first_byte(small_disk: Path) -> None:
    placement = LocalPlacement(str(small_disk))
    assert await placement.free_bytes() <= 1 << 20
    stage = await placement.stage("c-1", "t")
    with pytest.raises(NoSpace, match="the disk is full"):
        await stage.create({"file": 2 << 20})
    await stage.end(keep=False)
    assert entries(small_disk) == []


async def test_a_mount_on_the_way_is_bridged(small_disk: Path) -> None:
    root = small_disk.parent
    placement = LocalPlacement(str(root))
    (small_disk / "c-1").mkdir()
    where = await placement.set_aside(["small/c-1"], "small/c-1-stamp")
    assert where == str(small_disk / ".spotguard-quarantine/c-1-stamp")
    stage = await placement.stage("", "loose")
    await put(stage, "small/notes", b"notes")
    await stage.stamp("small/notes", mode=0o640, mtime_ns=77)
    await placement.publish(stage, [Move("small/notes", "small/notes")], aside="x")
    assert ((small_disk / "notes").read_bytes(), (small_disk / "notes").stat().st_mtime_ns) == (b"notes", 77)
    assert not (small_disk / ".spotguard-tmp").exists()


async def test_a_cancelled_verb_does_not_go_on(placement: LocalPlacement, root: Path) -> None:
    stage = await placement.stage("c-1", "t")
    task = asyncio.create_task(stage.create({"file": 100}))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    before = entries(root)
    await asyncio.sleep(0.05)
    assert entries(root) == before
    await stage.end(keep=False)


async def test_files_that_can_not_all_be_opened_leave_none_open(placement: LocalPlacement) -> None:
    stage = await placement.stage("c-1", "t")
    await stage.create({"a": 1, "b": 1})
    before = os.listdir("/proc/self/fd")
    with pytest.raises(PlacementFailed, match="none"):
        await stage.open_all(["a", "b", "none"])
    assert os.listdir("/proc/self/fd") == before
    for cancellations in (1, 2):
        opening = asyncio.ensure_future(stage.open_all(["a", "b"]))
        for _ in range(cancellations):
            await asyncio.sleep(0)
            opening.cancel()
        await asyncio.wait({opening})
        assert os.listdir("/proc/self/fd") == before
    await stage.end(keep=False)


@pytest.mark.parametrize("count", [3, 200])
async def test_of_many_files_is_told_what_is_told_of_each(placement: LocalPlacement, root: Path, count: int) -> None:
    (root / "c-1/deep").mkdir(parents=True)
    (root / "c-1/link").symlink_to("deep")
    files, nowhere = ([f"{folder}/f-{number}" for number in range(count)] for folder in ("c-1", "none"))
    paths = [*files, *nowhere, "c-1/deep", "c-1/link", "top"]
    for path in [*files[::2], "top"]:
        (root / path).write_text(path)
    alone = {path: await placement.lying(path) for path in paths}
    assert await placement.all_lying(paths) == {path: lying for path, lying in alone.items() if lying is not None}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
async def test_what_arrives_is_given_to_the_owner_of_the_folder_it_goes_into(placement: LocalPlacement, root: Path) -> None:
    root.mkdir()
    os.chown(root, 1234, 2345)
    stage = await placement.stage("c-1", "t")
    await put(stage, "file", b"x")
    await placement.publish(stage, [Move("", "c-1")], aside="x")
    found = (root / "c-1/file").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (1234, 2345, 0o644, 1)
