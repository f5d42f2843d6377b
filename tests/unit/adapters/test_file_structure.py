from __future__ import annotations

import dataclasses
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest

from spotguard.adapters.structure.file_structure import finding_of
from spotguard.core.structure import Finding, Structure


def look(path: Path, structure: Structure) -> Finding:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return finding_of(descriptor, structure)
    finally:
        os.close(descriptor)


def a_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", os.urandom(100_000))
    return path


def a_safetensors(path: Path) -> Path:
    header = json.dumps({"__metadata__": {"a": "b"}, "w": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4000))
    return path


def a_ubjson(path: Path) -> Path:
    """The way in which XGBoost writes a model: named values, and arrays of one type with their count before them."""
    array = b"[$d#L" + (25).to_bytes(8, "big") + bytes(100)
    path.write_bytes(b"{" + b"L" + (7).to_bytes(8, "big") + b"weights" + array + b"i\x04name" + b"Si\x05model" + b"i\x01xU\x07" + b"}")
    return path


def an_hdf5(path: Path, *, version: int = 0, flags: int = 0) -> Path:
    """A superblock as in the HDF5 File Format Specification, level 0A, and 1,000 bytes in all."""
    if version < 2:
        head = b"\x89HDF\r\n\x1a\n" + bytes([version, 0, 0, 0, 0, 8, 8, 0]) + bytes(8 + 4 * version)
        head += struct.pack("<QQQQ", 0, 2**64 - 1, 1000, 2**64 - 1)
    else:
        head = b"\x89HDF\r\n\x1a\n" + bytes([version, 8, 8, flags]) + struct.pack("<QQQQ", 0, 2**64 - 1, 1000, 48)
    path.write_bytes(head.ljust(1000, b"\1"))
    return path


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.999])
@pytest.mark.parametrize(
    ("structure", "make"),
    [
        (Structure.TORCH_ZIP, a_zip),
        (Structure.ZIP, a_zip),
        (Structure.BINARY, a_zip),
        (Structure.SAFETENSORS, a_safetensors),
        (Structure.UBJSON, a_ubjson),
        (Structure.HDF5, an_hdf5),
        (Structure.HDF5, lambda path: an_hdf5(path, version=1)),
        (Structure.HDF5, lambda path: an_hdf5(path, version=2)),
    ],
)
def test_the_whole_file_is_sound_and_a_cut_one_is_not(tmp_path: Path, structure: Structure, make, share: float) -> None:  # type: ignore[no-untyped-def]
    path = make(tmp_path / "file")
    assert look(path, structure) == Finding(True, ended=structure is not Structure.HDF5)
    os.truncate(path, max(20, int(path.stat().st_size * share)))
    cut = look(path, structure)
    assert not cut.sound
    assert cut.reason


@dataclasses.dataclass
class StorageInfo:
    relative_path: str
    offset: int
    length: int
    checksum: bytes


def metadata_of(path: Path, *shards: str) -> Path:
    """As torch pickles it: the names are strings of objects in a dictionary, among much else."""
    content = {
        f"layer.{at}.weight of {shard}": StorageInfo(shard, at * 70_000, 70_000, os.urandom(40)) for at in range(300) for shard in shards
    }
    path.write_bytes(pickle.dumps({"storage_data": content, "planner_data": {"x": list(range(500))}}))
    return path


def test_the_shards_and_their_sizes_are_read_from_dcp_metadata_and_a_cut_one_is_not_sound(tmp_path: Path) -> None:
    path = metadata_of(tmp_path / ".metadata", "__1_0.distcp", "__0_0.distcp", "__0_0.distcp")
    shards = {"__0_0.distcp": 21_000_000, "__1_0.distcp": 21_000_000}
    assert look(path, Structure.DCP_METADATA) == Finding(True, document={"shards": shards}, ended=True)
    whole = path.read_bytes()
    for size in {1, 20, len(whole) // 2, int(len(whole) * 0.99), len(whole) - 1, *range(100, len(whole), 997)}:
        path.write_bytes(whole[:size])
        assert not look(path, Structure.DCP_METADATA).sound
    path.write_bytes(whole + b"more")
    assert not look(path, Structure.DCP_METADATA).sound


def test_nothing_in_dcp_metadata_is_executed(tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "executed").encode() + b"'\ntR.")
    assert look(tmp_path / ".metadata", Structure.DCP_METADATA) == Finding(True, document={"shards": {}}, ended=True)
    assert not (tmp_path / "executed").exists()


def test_dcp_metadata_that_is_too_large_to_walk_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = metadata_of(tmp_path / ".metadata", "__0_0.distcp", "__17_3.distcp")
    monkeypatch.setattr("spotguard.adapters.structure.dcp_metadata._WALK_LIMIT_BYTES", 100)
    assert look(path, Structure.DCP_METADATA).document == {"shards": {"__0_0.distcp": 0, "__17_3.distcp": 0}}
    os.truncate(path, path.stat().st_size - 1)
    assert not look(path, Structure.DCP_METADATA).sound


@pytest.mark.parametrize("content", [b"global_step100", "é\n".encode()])
def test_the_text_of_a_pointer_is_handed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "latest").write_bytes(content)
    assert look(tmp_path / "latest", Structure.TEXT) == Finding(True, document={"text": content.decode()})


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (64 * 1024 + 1)])
def test_what_is_no_pointer_is_not_sound(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "latest").write_bytes(content)
    assert not look(tmp_path / "latest", Structure.TEXT).sound


@pytest.mark.parametrize("structure", list(Structure))
def test_an_empty_file_is_sound_only_where_nothing_is_promised(tmp_path: Path, structure: Structure) -> None:
    (tmp_path / "file").touch()
    assert look(tmp_path / "file", structure).sound == (structure is Structure.ANY)


@pytest.mark.parametrize(
    "structure", [Structure.TORCH_ZIP, Structure.ZIP, Structure.BINARY, Structure.SAFETENSORS, Structure.JSON, Structure.HDF5]
)
def test_a_file_of_which_only_the_size_is_there_is_not_sound(tmp_path: Path, structure: Structure) -> None:
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", 1 << 20)
    assert not look(tmp_path / "file", structure).sound


def test_a_legacy_pickle_passes_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + bytes(5000))
    found = look(tmp_path / "file", Structure.TORCH_ZIP)
    assert (found.sound, found.ended) == (True, False)


def test_json_is_handed_over_without_its_long_lists(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(json.dumps({"global_step": 7, "log_history": [0] * 10_001, "short": [1, 2]}))
    assert look(tmp_path / "file", Structure.JSON) == Finding(True, "", {"global_step": 7, "short": [1, 2]})


@pytest.mark.parametrize("content", [b'{"a": 1', b"\xff\xfe", b"[" * 100_000, b"nope"])
def test_what_is_no_json_is_not_sound(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert not look(tmp_path / "file", Structure.JSON).sound


@pytest.mark.parametrize(
    "header", [b"[]", b'{"w": 1}', b'{"w": {"data_offsets": "x"}}', b'{"w": {"data_offsets": []}}', b'{"w": {}}', b"\xff", b"{"]
)
def test_a_header_of_nonsense_is_not_sound(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "file").write_bytes(struct.pack("<Q", len(header)) + header)
    assert not look(tmp_path / "file", Structure.SAFETENSORS).sound
    (tmp_path / "file").write_bytes(b"\xff" * 100)
    assert not look(tmp_path / "file", Structure.SAFETENSORS).sound


def test_an_hdf5_file_that_is_open_for_writing_is_not_sound(tmp_path: Path) -> None:
    assert look(an_hdf5(tmp_path / "file", version=3), Structure.HDF5).sound
    assert not look(an_hdf5(tmp_path / "file", version=3, flags=1), Structure.HDF5).sound


@pytest.mark.parametrize(("size", "sound"), [(1, True), (8, True), (64, True), (65, False), (5000, False), (100_000, False)])
@pytest.mark.parametrize("structure", [Structure.BINARY, Structure.TORCH_ZIP])
def test_zeros_alone_are_blank_unless_they_may_be_a_number(tmp_path: Path, structure: Structure, size: int, sound: bool) -> None:
    (tmp_path / "file").write_bytes(bytes(size))
    assert look(tmp_path / "file", structure).sound is sound
