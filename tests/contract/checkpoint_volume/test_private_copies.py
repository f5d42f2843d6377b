"""A copy that nobody else can write: what it holds, what it leaves alone, and what becomes of it when there is no room."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from spotguard.adapters.disk import private_copy as copies
from spotguard.adapters.disk.volume import LocalVolume
from spotguard.ports.checkpoint_volume import Copying


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/stage").mkdir(parents=True)
    return tmp_path / "root"


async def test_it_keeps_the_content_that_the_file_had_whatever_is_written_over_it(root: Path) -> None:
    path = root / "stage/ckpt.pt"
    path.write_bytes(os.urandom(3_000_000))
    before = path.read_bytes()
    volume = LocalVolume(root)
    held = await volume.hold("stage/ckpt.pt", Copying.ALWAYS)
    path.write_bytes(b"other")
    assert held.private
    assert held.unchanged()
    assert os.pread(held.fd, len(before) + 1, 0) == before
    assert held.stat.size == len(before)
    held.close()
    assert not held.unchanged()
    volume.close()


async def test_it_has_no_name_and_leaves_the_times_of_folders_and_files_alone(root: Path) -> None:
    path = root / "stage/ckpt.pt"
    path.write_bytes(os.urandom(1_000_000))
    places = (root, root / "stage", path)
    before = [(p.stat().st_mtime_ns, p.stat().st_ctime_ns) for p in places]
    volume = LocalVolume(root)
    held = await volume.hold("stage/ckpt.pt", Copying.ALWAYS)
    assert held.private
    assert [(p.stat().st_mtime_ns, p.stat().st_ctime_ns) for p in places] == before
    assert sorted(p.name for p in root.rglob("*")) == ["ckpt.pt", "stage"]
    assert held.stat == (await volume.scan()).files["stage/ckpt.pt"]
    held.close()
    volume.close()


async def test_its_space_is_given_back_when_it_is_closed(root: Path) -> None:
    path = root / "ckpt.pt"
    path.write_bytes(os.urandom(1_000_000))
    volume = LocalVolume(root)
    held = await volume.hold("ckpt.pt", Copying.ALWAYS)
    assert os.fstat(held.fd).st_nlink == 0
    held.close()
    volume.close()


@pytest.mark.parametrize("why", ["no room", "not asked for", "nowhere to put it"])
async def test_where_none_is_made_the_file_itself_is_held(root: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    (root / "ckpt.pt").write_bytes(b"content")
    if why == "no room":
        monkeypatch.setattr(copies, "_ROOM_FACTOR", 1 << 60)
        monkeypatch.setattr(copies, "_shares", lambda into, fd: False)
    elif why == "nowhere to put it":
        monkeypatch.setattr(copies, "_unnamed", lambda folder: None)
    volume = LocalVolume(root)
    descriptors = len(os.listdir("/proc/self/fd"))
    held = await volume.hold("ckpt.pt", Copying.NEVER if why == "not asked for" else Copying.ALWAYS)
    assert not held.private
    assert os.pread(held.fd, 100, 0) == b"content"
    held.close()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    volume.close()


async def test_one_that_was_cut_off_while_it_was_copied_is_not_taken_for_the_whole(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "ckpt.pt"
    path.write_bytes(os.urandom(1_000_000))
    known = LocalVolume(root)
    before = (await known.scan()).files["ckpt.pt"]
    sendfile = os.sendfile

    def slow(into: int, fd: int, offset: int, count: int) -> int:
        os.truncate(path, 500_000)
        return sendfile(into, fd, offset, count)

    monkeypatch.setattr(copies.os, "sendfile", slow)
    monkeypatch.setattr(copies, "_shares", lambda into, fd: False)
    held = await known.hold("ckpt.pt", Copying.ALWAYS)
    assert not held.private or held.stat[:5] != before[:5]
    held.close()
    known.close()


async def test_whoever_waits_for_a_copy_may_be_cancelled(root: Path) -> None:
    (root / "ckpt.pt").write_bytes(os.urandom(1_000_000))
    volume = LocalVolume(root)
    descriptors = len(os.listdir("/proc/self/fd"))
    task = asyncio.create_task(volume.hold("ckpt.pt", Copying.ALWAYS))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (await volume.hold("ckpt.pt")).close()
    for _ in range(200):
        if len(os.listdir("/proc/self/fd")) <= descriptors + 1:
            break
        await asyncio.sleep(0.01)
    volume.close()
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1
