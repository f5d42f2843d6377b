"""What a look has found, and what is in the bucket, without an object for each file."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.checkpoint import FileStat
from spotguard.core.file_table import FileTable
from spotguard.core.loose import LooseFile
from spotguard.core.loose_index import LooseIndex, is_same, sent
from spotguard.core.packed_rows import PackedRows, Packing, Row, count, find, pack, unpack, with_row, without

NAMES = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=3)
PATHS = st.builds("/".join, st.lists(NAMES, min_size=1, max_size=3))
NUMBERS = st.integers(-(2**70), 2**70)
STATS = st.builds(FileStat, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)


@given(st.dictionaries(PATHS, STATS), PATHS)
def test_a_table_of_files_says_what_a_dictionary_says(files: dict[str, FileStat], other: str) -> None:
    table = FileTable.of(files)
    assert dict(table.items()) == files == {path: table[path] for path in table}
    assert len(table) == len(files)
    assert (other in table) == (other in files)
    assert table == files


@given(st.lists(st.tuples(NAMES, st.one_of(st.none(), NUMBERS)), max_size=9))
def test_rows_that_come_and_go_are_those_of_a_dictionary(changes: list[tuple[str, int | None]]) -> None:
    packed, expected = pack([]), dict[str, int]()
    for name, value in changes:
        if value is None:
            packed = without(packed, name)
            expected.pop(name, None)
        else:
            packed = with_row(packed, (name, value))
            expected[name] = value
        assert find(packed, name) == (None if value is None else (name, value))
    assert dict(unpack(packed)) == expected


def test_rows_of_many_pieces_are_found_replaced_and_taken_out() -> None:
    packed = pack((f"{number:05}", number) for number in range(2000))
    packed = with_row(without(packed, "00700"), ("01200", -1))
    assert find(packed, "00700") is None
    assert find(packed, "01200") == ("01200", -1)
    assert sorted(unpack(packed)) == sorted([(f"{n:05}", -1 if n == 1200 else n) for n in range(2000) if n != 700])


def test_what_did_not_change_is_in_memory_once() -> None:
    known = pack([("a", 1), ("b", 2)])
    again, other = Packing(), Packing()
    for number, name in enumerate("ab", 1):
        again.add((name, number))
        other.add((name, number + 1))
    assert again.packed(known) is known
    assert other.packed(known) != known


def test_a_file_costs_less_than_a_hundred_bytes() -> None:
    stat = FileStat(123_456, 1_795_000_000_123_456_789, 1_795_000_000_123_456_789, 66306, 12_345_678_901, 0o644)
    table = FileTable.of({f"logs/{number:06}.txt": stat for number in range(10_000)})
    assert sum(map(len, table.packed("logs"))) < 100 * 10_000


LOOSE = st.builds(
    lambda path, key, size: LooseFile(path, key or path, size, "AAAAAAAAAAA=", 0o644, size), PATHS, st.none() | PATHS, st.integers(0, 9)
)


@given(st.lists(LOOSE, max_size=9), st.lists(LOOSE, max_size=9))
def test_the_index_names_what_was_sent_last_under_each_path(before: list[LooseFile], later: list[LooseFile]) -> None:
    expected = {file.path: file for file in [*before, *later]}
    index = LooseIndex({file.path: file for file in before}.values())
    for file in later:
        index.put(file, at=7.0)
    assert {file.path: file for file in index.files()} == expected


def test_what_was_sent_when_is_known_of_thousands_too() -> None:
    index = LooseIndex([LooseFile("d/old", "d/old@2", 5, "AAAAAAAAAAA=", 0o644, 6)])
    for number in range(5000):
        index.put(LooseFile(f"d/{number}", f"d/{number}", number, "AAAAAAAAAAA=", 0o644, 1), at=float(number))
    known = index.known_in("d")
    assert len(known) == len(list(index.files())) == 5001
    assert is_same(known["4999"], 4999, 1)
    assert not is_same(known["4999"], 4999, 2)
    assert sent("d", known["3"]).at == 3.0
    assert sent("d", known["old"]).at is None
    assert sent("d", known["old"]).file.key == "d/old@2"


def test_what_was_sent_from_many_folders_in_turns_is_known_of_each() -> None:
    index = LooseIndex()
    for number in range(6000):
        index.put(LooseFile(f"{number % 50}/{number}", f"k/{number}", number, "AAAAAAAAAAA=", 0o644, 1), at=float(number))
    assert len(index) == len(list(index.files())) == 6000
    assert {file.path for file in index.files()} == {f"{number % 50}/{number}" for number in range(6000)}
    assert sent("7", index.known_in("7")["5957"]).at == 5957.0


def test_files_that_are_sent_again_and_again_are_packed_each_time() -> None:
    index = LooseIndex()
    for turn in range(40):
        for number in range(2000):
            index.put(LooseFile(f"{number % 20}/{number}", f"k/{number}", turn, "AAAAAAAAAAA=", 0o644, 1), at=float(turn))
    assert len(index) <= 2 * 2000
    assert {file.size for file in index.files()} == {39}


class PackedInBetween(PackedRows):
    """Packed rows of an index that packs a folder just after it was read."""

    index: LooseIndex
    _packs = False

    def rows(self, folder: str) -> Iterator[Row]:
        found = list(super().rows(folder))
        if not self._packs and folder in self.index._lately:
            self._packs = True
            self.index._pack(folder)
            self._packs = False
        return iter(found)


def test_a_file_that_is_packed_while_another_thread_asks_for_it_is_known() -> None:
    index = LooseIndex()
    index.put(LooseFile("d/a", "d/a", 1, "AAAAAAAAAAA=", 0o644, 1), at=1.0)
    index._rows = rows = PackedInBetween()
    rows.index = index
    assert sent("d", index.known_in("d")["a"]).file.size == 1
    index.put(LooseFile("d/a", "d/a", 2, "AAAAAAAAAAA=", 0o644, 2), at=2.0)
    assert sent("d", index.known_in("d")["a"]).file.size == 2


@given(st.lists(NAMES, max_size=9))
def test_rows_are_counted_without_being_unpacked(names: list[str]) -> None:
    assert count(pack((name, 1) for name in names)) == len(names)
