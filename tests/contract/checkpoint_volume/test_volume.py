"""What every CheckpointVolume does, on a disk and in memory."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme

from spotguard.adapters.disk.volume import LocalVolume
from spotguard.core.checkpoint import LocalFile, LocalLink
from spotguard.core.layouts.soundness import probe_of
from spotguard.core.structure import Structure
from spotguard.ports.checkpoint_volume import CannotRead, Growth
from tests.contract.checkpoint_volume.formats import hf_checkpoint, torch_zip
from tests.contract.checkpoint_volume.worlds import World


async def test_an_empty_root_or_none_at_all_is_an_empty_tree(world: World) -> None:
    found = await world.volume.scan()
    assert (dict(found.files), dict(found.folders), dict(found.links)) == ({}, {}, {})


async def test_a_scan_finds_files_folders_and_links(world: World) -> None:
    world.write("sft/checkpoint-1/ünï cödé.bin", b"12345")
    world.mkdir("sft/checkpoint-1/empty")
    world.link("sft/checkpoint-1/latest", "ünï cödé.bin")
    world.link("sft/alias", "checkpoint-1")
    world.link("gone", "nothing")
    found = await world.volume.scan()
    assert {path: stat.size for path, stat in found.files.items()} == {"sft/checkpoint-1/ünï cödé.bin": 5}
    assert set(found.folders) == {"sft", "sft/checkpoint-1", "sft/checkpoint-1/empty"}
    assert found.links == {
        "sft/checkpoint-1/latest": LocalLink("ünï cödé.bin", "sft/checkpoint-1/ünï cödé.bin", False),
        "sft/alias": LocalLink("checkpoint-1", "sft/checkpoint-1", True),
        "gone": LocalLink("nothing", None, False),
    }


async def test_an_unchanged_tree_is_equal_and_any_change_is_not(world: World) -> None:
    world.write("a", b"1")
    first = await world.volume.scan()
    assert await world.volume.scan() == first
    world.write_over("a", b"2")
    second = await world.volume.scan()
    assert second.files["a"] != first.files["a"]
    world.replace("a", b"2")
    assert (await world.volume.scan()).files["a"].inode != second.files["a"].inode


async def test_looking_again_at_some_gives_the_same_as_looking_at_all(world: World) -> None:
    for path in ("a/b/x", "a/y", "a-b/x", "c/z", "top"):
        world.write(path, b"1")
    await world.volume.scan()
    world.write("a/b/new/deep", b"1")
    world.delete("c/z")
    world.delete("a-b")
    world.write("d/e/f", b"1")
    world.link("a/l", "y")
    partial = await world.volume.scan(["a/b", "a", "c", "a-b", "d/e", "nowhere/at/all"])
    assert partial == await world.volume.scan()
    world.rename("a", "moved")
    assert await world.volume.scan(["a", "moved"]) == await world.volume.scan()


async def test_probes_tell_sound_from_torn_and_gone(world: World) -> None:
    files = hf_checkpoint(7)
    for name, content in files.items():
        world.write(name, content)
    world.write("empty.pt", b"")
    world.write("torn.json", b'{"global_step": 7')
    found = await world.volume.scan()
    probes = {path: probe_of(LocalFile(path, path, stat)) for path, stat in found.files.items()}
    answers = await world.volume.probe(list(probes.values()))
    assert {path for path in probes if not answers[probes[path]].sound} == {"empty.pt", "torn.json"}
    assert all(answers[probes[path]].reason for path in ("empty.pt", "torn.json"))
    assert answers[probes["trainer_state.json"]].document["global_step"] == 7
    gone = probes["optimizer.pt"]._replace(source="never.pt")
    assert not (await world.volume.probe([gone]))[gone].sound


async def test_stats_are_fresh_and_none_for_what_is_gone(world: World) -> None:
    world.write("a", b"1")
    found = await world.volume.scan()
    world.write_over("a", b"22")
    stats = await world.volume.stat(["a", "b"])
    assert stats["a"] is not None
    assert stats["a"].size == 2
    assert stats["a"] != found.files["a"]
    assert stats["b"] is None


async def test_what_is_held_survives_its_name_and_tells_of_changes(world: World) -> None:
    world.write("step-1/w.pt", b"first")
    held = await world.volume.hold("step-1/w.pt")
    assert held.stat == (await world.volume.scan()).files["step-1/w.pt"]
    world.delete("step-1")
    assert held.unchanged()
    assert os.pread(held.fd, 100, 0) == b"first"
    held.close()
    held.close()
    world.write("w", b"first")
    held = await world.volume.hold("w")
    world.replace("w", b"other")
    assert held.unchanged()
    held.close()
    held = await world.volume.hold("w")
    world.write_over("w", b"again")
    assert not held.unchanged()
    held.close()


async def test_the_checksum_is_of_the_whole_file_and_leaves_the_offset_alone(world: World) -> None:
    content = torch_zip(9 << 20)
    world.write("w.pt", content)
    held = await world.volume.hold("w.pt")
    assert await world.volume.checksum(held) == crc64nvme(content)
    assert os.lseek(held.fd, 0, os.SEEK_CUR) == 0
    held.close()


async def test_reading_stops_one_byte_beyond_the_limit(world: World) -> None:
    world.write("state.json", b"0123456789")
    assert await world.volume.read("state.json", 20) == b"0123456789"
    assert await world.volume.read("state.json", 4) == b"01234"


async def test_what_is_gone_or_no_file_is_refused_by_name(world: World) -> None:
    world.mkdir("folder")
    for call in (world.volume.hold, lambda source: world.volume.read(source, 10)):
        with pytest.raises(FileNotFoundError, match="gone"):
            await call("gone")
    with pytest.raises(CannotRead, match="folder"):
        await world.volume.hold("folder")


async def test_space_and_safety_of_holds_can_be_asked(world: World) -> None:
    assert await world.volume.free_bytes() > 0
    assert world.volume.holds_are_safe() is True


def test_every_structure_is_covered_by_the_formats_or_by_size() -> None:
    assert {Structure.ANY, Structure.NONEMPTY} < set(Structure)


async def test_growth_tells_the_size_and_whether_the_file_still_has_its_name(world: World) -> None:
    world.write("a/f", b"x" * 10_000)
    with closing(await world.volume.hold("a/f")) as held:
        assert await world.volume.growth(held, 0) == Growth(size=10_000, filled=10_000, has_name=True)
        world.write_over("a/f", b"x" * 20_000)
        assert await world.volume.growth(held, 5_000) == Growth(size=20_000, filled=20_000, has_name=True)
        assert await world.volume.growth(held, 30_000) == Growth(size=20_000, filled=20_000, has_name=True)
        world.rename("a/f", "a/g")
        assert (await world.volume.growth(held, 0)).has_name
        world.replace("a/g", b"y" * 10)
        assert await world.volume.growth(held, 0) == Growth(size=20_000, filled=20_000, has_name=False)


async def test_space_that_is_reserved_and_not_written_is_a_hole(tmp_path: Path) -> None:
    volume = LocalVolume(tmp_path)
    block = 1 << 16
    try:
        with (tmp_path / "f").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 8 * block)
            file.write(b"x" * 3 * block)
            file.flush()
            with closing(await volume.hold("f")) as held:
                found = await volume.growth(held, 0)
                assert found.size == 8 * block
                assert found.filled in (3 * block, 8 * block), "a filesystem tells its holes, or none at all"
                file.write(b"x" * block)
                file.flush()
                assert (await volume.growth(held, 0)).filled in (4 * block, 8 * block)
    finally:
        volume.close()


async def test_growth_that_is_asked_for_in_vain_leaves_no_file_open(tmp_path: Path) -> None:
    volume = LocalVolume(tmp_path)
    (tmp_path / "f").write_bytes(b"x")
    held = await volume.hold("f")
    before = set(os.listdir("/proc/self/fd"))
    asked = [asyncio.ensure_future(volume.growth(held, 0)) for _ in range(50)]
    await asyncio.sleep(0)
    for each in asked:
        each.cancel()
    await asyncio.wait(asked)
    held.close()
    async with asyncio.timeout(5):  # a thread may be at the last of them
        while set(os.listdir("/proc/self/fd")) - before:
            await volume.stat(["f"])
    volume.close()
