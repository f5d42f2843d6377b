"""The files that a look has found, by path, without an object for each."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping

from spotguard.core.checkpoint import FileStat
from spotguard.core.packed_rows import Packed, PackedRows, Row, split


class FileTable(Mapping[str, FileStat]):
    """About seventy bytes a file. To go through all of it, or through a folder, is quick; to ask for one file unpacks some hundred."""

    __slots__ = ("_rows",)

    def __init__(self, rows: PackedRows) -> None:
        self._rows = rows

    @classmethod
    def of(cls, files: Mapping[str, FileStat]) -> FileTable:
        """The table itself, or what it would be of any other mapping."""
        return files if isinstance(files, FileTable) else cls(PackedRows.of(_placed(files)))

    @property
    def by_folder(self) -> PackedRows:
        """Rows of a name and a stat, as `row_of` makes them; not to be changed."""
        return self._rows

    def folders(self) -> Iterable[str]:
        """Those with at least one file directly in them."""
        return self._rows.folders()

    def packed(self, folder: str) -> Packed:
        """Equal as long as nothing of the folder's own files has changed, and they were listed in the same order."""
        return self._rows.packed(folder)

    def directly_in(self, folder: str) -> Iterator[tuple[str, FileStat]]:
        """(path, stat) of the files in a folder, not of those in the folders below."""
        prefix = f"{folder}/" if folder else ""
        for row in self._rows.rows(folder):
            yield prefix + row[0], stat_of(row)

    def names_in(self, folder: str) -> Iterator[str]:
        """The last components of the files directly in a folder."""
        return (row[0] for row in self._rows.rows(folder))

    def items(self) -> ItemsView[str, FileStat]:
        return _Items(self)

    def __getitem__(self, path: str) -> FileStat:
        row = self._rows.find(path)
        if row is None:
            raise KeyError(path)
        return stat_of(row)

    def __iter__(self) -> Iterator[str]:
        for folder in self._rows.folders():
            prefix = f"{folder}/" if folder else ""
            for row in self._rows.rows(folder):
                yield prefix + row[0]

    def __len__(self) -> int:
        return len(self._rows)


class _Items(ItemsView[str, FileStat]):
    _mapping: FileTable

    def __iter__(self) -> Iterator[tuple[str, FileStat]]:
        for folder in self._mapping.folders():
            yield from self._mapping.directly_in(folder)


def row_of(name: str, stat: FileStat) -> Row:
    return (name, *stat)


def stat_of(row: Row) -> FileStat:
    return FileStat._make(row[1:])


def _placed(files: Mapping[str, FileStat]) -> Iterator[tuple[str, Row]]:
    for path, stat in files.items():
        folder, name = split(path)
        yield folder, row_of(name, stat)
