"""Which committed file a local one may be equal to: by size, then the first part, then the whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from spotguard.core.checkpoint import CompleteBy, Unit
from spotguard.core.checksum import encode_crc64
from spotguard.core.manifest import FirstPart, Host, Manifest, ManifestFile
from spotguard.core.reuse import LEAST_BYTES, KnownFiles, first_sizes, known_of, with_first, with_whole

MIB = 1 << 20
PART = 16 * MIB


def a_file(key: str, size: int, crc: int, first: tuple[int, int] | None = None) -> ManifestFile:
    part = None if first is None else FirstPart(first[0], encode_crc64(first[1]))
    return ManifestFile(key.rpartition("/")[2], key, size, encode_crc64(crc), 0o644, 0, part)


def a_manifest(name: str, *files: ManifestFile) -> Manifest:
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    empty = Manifest(name, "", 1, "hf-trainer", Unit.DIRECTORY, CompleteBy.MARKER, 1, moment, moment, "save", Host("h"), 0, ())
    return replace(empty, files=files, total_bytes=sum(file.size for file in files))


def test_only_files_of_equal_size_are_compared_each_content_once() -> None:
    shared = a_file("c-2/a", PART, 7)
    known = KnownFiles(
        [a_manifest("c-2", shared, a_file("c-2/b", PART, 8)), a_manifest("c-1", a_file("c-1/a", PART, 7), a_file("c-1/c", MIB, 7))]
    )
    assert [(one.key, one.crc64nvme) for one in known.of_size(PART)] == [("c-2/a", 7), ("c-2/b", 8)]
    assert [one.key for one in known.of_size(MIB)] == ["c-1/c"]
    assert known.of_size(PART + 1) == ()


def test_the_name_of_a_file_does_not_matter() -> None:
    known = KnownFiles([a_manifest("c-1", a_file("c-1/model-00001-of-00002.safetensors", PART, 7))])
    assert with_whole(known.of_size(PART), 7) is not None


@pytest.mark.parametrize(
    ("file", "compared"),
    [
        (a_file("k", LEAST_BYTES - 1, 1), False),
        (a_file("k", LEAST_BYTES, 1), True),
        (a_file("k", 64 * MIB, 1), True),
        (a_file("k", 64 * MIB + 1, 1), False),
        (a_file("k", 1 << 40, 1, (PART, 2)), True),
        (a_file("k", PART, 1, (PART, 2)), True),
        (a_file("k", 100 * MIB, 1, (0, 2)), False),
    ],
)
def test_a_comparison_reads_one_part_at_first_or_is_not_made(file: ManifestFile, compared: bool) -> None:
    known = known_of(file)
    assert (known is not None) == compared
    assert known is None or known.first_size <= 64 * MIB


def test_the_first_part_tells_other_content_of_equal_size_apart() -> None:
    manifest = a_manifest("c-1", a_file("c-1/a", 3 * PART, 7, (PART, 70)), a_file("c-1/b", 3 * PART, 8, (2 * PART, 80)))
    known = KnownFiles([manifest]).of_size(3 * PART)
    assert first_sizes(known) == (PART, 2 * PART)
    assert [one.key for one in with_first(known, PART, 70)] == ["c-1/a", "c-1/b"]
    assert [one.key for one in with_first(known, PART, 71)] == ["c-1/b"]
    assert with_first(with_first(known, PART, 71), 2 * PART, 81) == ()


def test_an_equal_start_is_no_equal_file() -> None:
    known = KnownFiles([a_manifest("c-1", a_file("c-1/a", 3 * PART, 7, (PART, 70)))]).of_size(3 * PART)
    assert with_whole(with_first(known, PART, 70), 6) is None


def test_what_is_known_of_a_key_is_found_by_it() -> None:
    known = KnownFiles([a_manifest("c-1", a_file("c-1/a", 3 * PART, 7, (PART, 70)), a_file("c-1/tiny", 10, 1))])
    at = known.at("c-1/a")
    assert at is not None
    assert (at.first_size, at.first_crc) == (PART, 70)
    assert known.at("c-1/tiny") is None
