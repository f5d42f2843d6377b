"""Rows by path, packed folder by folder: of a hundred thousand files a tenth of what an object for each would take.

`marshal` only ever reads what it has written in the same process, and takes integers of any size.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator, KeysView, Mapping
from typing import Any

Row = tuple[Any, ...]
"""The last component of a path, and what is known of the file: numbers, text, bytes or None."""
Packed = tuple[bytes, ...]

_WITHOUT_REFERENCES = 2
"""Of the formats of `marshal` the one in which equal rows are equal bytes."""
_AT_ONCE = 512
"""Rows in a piece: what has to be unpacked to find one of them."""
_COUNT_BYTES = 2
"""At the beginning of a piece: how many rows are in it."""


class Packing:
    """Packs what is added row by row, so that no more than a piece of it is ever there unpacked."""

    __slots__ = ("_pieces", "_rows")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) == _AT_ONCE:
            self._seal()

    def packed(self, known: Packed = ()) -> Packed:
        """`known` itself, where it holds the same: so that what did not change is in memory once."""
        if self._rows:
            self._seal()
        packed = tuple(self._pieces)
        return known if packed == known else packed

    def _seal(self) -> None:
        self._pieces.append(_sealed(self._rows))
        self._rows.clear()


def pack(rows: Iterable[Row]) -> Packed:
    packing = Packing()
    for row in rows:
        packing.add(row)
    return packing.packed()


def unpack(packed: Packed) -> Iterator[Row]:
    for piece in packed:
        yield from _rows_of(piece)


def count(packed: Packed) -> int:
    """Nothing is unpacked for it."""
    return sum(int.from_bytes(piece[:_COUNT_BYTES]) for piece in packed)


def _sealed(rows: list[Row]) -> bytes:
    return len(rows).to_bytes(_COUNT_BYTES) + marshal.dumps(rows, _WITHOUT_REFERENCES)


def _rows_of(piece: bytes) -> list[Row]:
    rows: list[Row] = marshal.loads(memoryview(piece)[_COUNT_BYTES:])
    return rows


def find(packed: Packed, name: str) -> Row | None:
    """The row of that name; pieces in which the name does not occur are not unpacked."""
    looked_for = name.encode("utf-8", "surrogatepass")
    for piece in packed:
        if looked_for in piece:
            for row in _rows_of(piece):
                if row[0] == name:
                    return row
    return None


def with_row(packed: Packed, row: Row) -> Packed:
    """With the row at the end, and none else of its name."""
    others = without(packed, row[0])
    last = _rows_of(others[-1]) if others else []
    if 0 < len(last) < _AT_ONCE:
        return (*others[:-1], _sealed([*last, row]))
    return (*others, _sealed([row]))


def without(packed: Packed, name: str) -> Packed:
    """Without the row of that name."""
    looked_for = name.encode("utf-8", "surrogatepass")
    for at, piece in enumerate(packed):
        if looked_for in piece:
            rows = _rows_of(piece)
            left = [row for row in rows if row[0] != name]
            if len(left) < len(rows):
                changed = (_sealed(left),) if left else ()
                return (*packed[:at], *changed, *packed[at + 1 :])
    return packed


def split(path: str) -> tuple[str, str]:
    """The folder, empty at the top, and the last component."""
    folder, _, name = path.rpartition("/")
    return folder, name


class PackedRows:
    """Rows by folder. Folders that hold none are not in it."""

    __slots__ = ("_folders",)

    def __init__(self, folders: Mapping[str, Packed] | None = None) -> None:
        self._folders = dict(folders or {})

    @classmethod
    def of(cls, rows: Iterable[tuple[str, Row]]) -> PackedRows:
        """Of (folder, row)."""
        by_folder: dict[str, list[Row]] = {}
        for folder, row in rows:
            by_folder.setdefault(folder, []).append(row)
        return cls({folder: pack(rows) for folder, rows in by_folder.items()})

    def copy(self) -> PackedRows:
        return PackedRows(self._folders)

    def folders(self) -> KeysView[str]:
        return self._folders.keys()

    def packed(self, folder: str) -> Packed:
        """Equal as long as the same rows are in the folder, in the same order."""
        return self._folders.get(folder, ())

    def put(self, folder: str, packed: Packed) -> None:
        if packed:
            self._folders[folder] = packed
        else:
            self._folders.pop(folder, None)

    def rows(self, folder: str) -> Iterator[Row]:
        return unpack(self.packed(folder))

    def find(self, path: str) -> Row | None:
        folder, name = split(path)
        return find(self.packed(folder), name)

    def __len__(self) -> int:
        return sum(count(packed) for packed in self._folders.values())
