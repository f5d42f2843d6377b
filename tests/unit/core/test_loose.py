"""When a loose file is due, and what its index refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.checkpoint import FileStat
from spotguard.core.loose import LooseFile, decode_index, encode_index, is_due
from spotguard.core.manifest import ManifestError

KNOWN = LooseFile("a", "a", 1000, "AAAAAAAAAAA=", 0o644, 5)


def stat(size: int, mtime_ns: int) -> FileStat:
    return FileStat(size, mtime_ns, 0, 1, 1, 0o644)


def due(size: int, mtime: int, *, ago: float | None, urgent: bool = False, known: LooseFile | None = KNOWN) -> bool:
    return is_due(stat(size, mtime), known, sent_ago=ago, loose_seconds=60, urgent=urgent)


def test_a_new_file_is_due_at_once() -> None:
    assert due(1, 1, ago=None, known=None)


def test_an_unchanged_file_is_never_due() -> None:
    assert not due(1000, 5, ago=1e9, urgent=True)


def test_a_changed_file_waits_for_its_time_and_for_a_tenth_or_an_hour() -> None:
    assert not due(5000, 6, ago=59)
    assert due(1100, 6, ago=61)
    assert not due(1099, 6, ago=61)
    assert due(1001, 6, ago=3600)


def test_in_a_drain_every_change_is_due() -> None:
    assert due(1000, 6, ago=0, urgent=True)


def test_what_an_earlier_daemon_sent_is_due_when_it_changed() -> None:
    assert due(1001, 6, ago=None)


@given(st.lists(st.builds(lambda n, s: LooseFile(f"d/{n}", f"d/{n}", s, "AAAAAAAAAAA=", 0o644, s), st.integers(0, 99), st.integers(0, 9))))
def test_the_index_reads_back_as_it_was_written(files: list[LooseFile]) -> None:
    by_path = {file.path: file for file in files}
    assert dict(decode_index(encode_index(by_path.values()))) == by_path


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "a//b", "a\0b"])
def test_the_index_refuses_paths_that_escape(path: str) -> None:
    bad = LooseFile(path, "k", 1, "AAAAAAAAAAA=", 0o644, 1)
    with pytest.raises(ManifestError):
        decode_index(encode_index([bad]))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format":2,"files":[]}', b'{"format":1,"files":[{}]}'])
def test_an_index_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(ManifestError):
        decode_index(content)
