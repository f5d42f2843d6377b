"""When a checkpoint on disk counts as what was committed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from spotguard.core.checkpoint import CompleteBy, FileStat, LocalCheckpoint, LocalFile, Unit
from spotguard.core.comparison import Likeness, compare, settle_by_content
from spotguard.core.manifest import Host, Manifest, ManifestFile, ManifestLink

WHEN = datetime(2026, 11, 23, tzinfo=UTC)


def local(files: dict[str, tuple[int, int]], links: tuple[tuple[str, str], ...] = ()) -> LocalCheckpoint:
    return LocalCheckpoint(
        "c-1",
        "generic-dir",
        Unit.DIRECTORY,
        tuple(LocalFile(path, f"c-1/{path}", FileStat(size, mtime, 0, 1, 1, 0o644)) for path, (size, mtime) in sorted(files.items())),
        links=links,
    )


def manifest(files: dict[str, tuple[int, int]], links: tuple[tuple[str, str], ...] = ()) -> Manifest:
    return Manifest(
        "c-1", "", 1, "generic-dir", Unit.DIRECTORY, CompleteBy.QUIET, 1, WHEN, WHEN, "save", Host("h"),
        sum(size for size, _ in files.values()),
        tuple(ManifestFile(path, f"c-1/{path}", size, "AAAAAAAAAAA=", 0o644, mtime) for path, (size, mtime) in sorted(files.items())),
        links=tuple(ManifestLink(*link) for link in links),
    )  # fmt: skip


FILES = {"a": (1, 10), "b": (2, 20)}


def test_equal_sizes_and_times_are_the_same() -> None:
    assert compare(local(FILES), manifest(FILES)).likeness is Likeness.SAME


def test_a_missing_file_means_shrunk_even_if_another_changed() -> None:
    assert compare(local({"a": (7, 99)}), manifest(FILES)).likeness is Likeness.SHRUNK


def test_another_size_or_a_new_file_means_changed() -> None:
    assert compare(local({**FILES, "b": (3, 20)}), manifest(FILES)).likeness is Likeness.CHANGED
    assert compare(local({**FILES, "c": (1, 1)}), manifest(FILES)).likeness is Likeness.CHANGED


def test_a_link_that_leads_elsewhere_means_changed_and_a_missing_one_shrunk() -> None:
    committed = manifest(FILES, (("l", "a"),))
    assert compare(local(FILES, (("l", "b"),)), committed).likeness is Likeness.CHANGED
    assert compare(local(FILES), committed).likeness is Likeness.SHRUNK


def test_another_time_alone_is_settled_by_content() -> None:
    touched = local({**FILES, "b": (2, 21)})
    comparison = compare(touched, manifest(FILES))
    assert comparison.likeness is Likeness.UNSURE
    assert [file.path for file in comparison.unsure] == ["b"]
    assert settle_by_content(comparison, manifest(FILES), {"b": "AAAAAAAAAAA="}) is Likeness.SAME
    assert settle_by_content(comparison, manifest(FILES), {"b": "AAAAAAAAAAE="}) is Likeness.CHANGED
    assert settle_by_content(comparison, manifest(FILES), {}) is Likeness.CHANGED


def test_permissions_alone_are_no_change() -> None:
    before = local(FILES)
    files = tuple(file._replace(stat=file.stat._replace(mode=0o600)) for file in before.files)
    assert compare(replace(before, files=files), manifest(FILES)).likeness is Likeness.SAME
