"""Which loose files are in the bucket, as a daemon remembers them: about seventy bytes for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from spotguard.core.loose import LooseFile
from spotguard.core.packed_rows import PackedRows, Row, count, pack, split

_FEW = 1000
_SHARE = 8


@dataclass(frozen=True, slots=True)
class Sent:
    """A loose file that is in the bucket."""

    file: LooseFile
    at: float | None
    """Monotonic; None for one that an earlier daemon sent."""


class LooseIndex:
    """What was sent lately is kept unpacked until it is an eighth of all: to pack one file is to pack its folder.

    One thread tells it of files; others may ask meanwhile, and see each file as it was before or after."""

    def __init__(self, files: Iterable[LooseFile] = ()) -> None:
        self._rows = PackedRows.of((split(file.path)[0], _row(file, None)) for file in files)
        self._packed_count = len(self._rows)
        self._lately: dict[str, dict[str, Row]] = {}
        self._lately_count = 0

    def put(self, file: LooseFile, at: float) -> None:
        """It was sent at this moment (monotonic)."""
        folder, name = split(file.path)
        lately = self._lately.setdefault(folder, {})
        self._lately_count += name not in lately
        lately[name] = _row(file, at)
        if self._lately_count > max(_FEW, self._packed_count // _SHARE):
            self._pack(next(iter(self._lately)))  # one at a time, since the event loop waits for it

    def known_in(self, folder: str) -> Mapping[str, Row]:
        """What is known of the files directly in a folder, by last component: for `is_same` and `sent`."""
        lately = self._lately.get(folder, {})  # before the others, among which it may be packed meanwhile
        return {row[0]: row for row in self._rows.rows(folder)} | lately

    def __len__(self) -> int:
        """How many files; one that was sent again lately counts twice."""
        return self._packed_count + self._lately_count

    def files(self) -> Iterator[LooseFile]:
        """Folder by folder."""
        for folder in sorted({*self._rows.folders(), *self._lately}):
            for _, row in sorted(self.known_in(folder).items()):
                yield sent(folder, row).file

    def _pack(self, folder: str) -> None:
        packed = pack(self.known_in(folder).values())
        self._packed_count += count(packed) - count(self._rows.packed(folder))
        self._rows.put(folder, packed)
        self._lately_count -= len(self._lately.pop(folder))


def is_same(row: Row, size: int, mtime_ns: int) -> bool:
    """Whether what was sent had this size and time."""
    return (row[2], row[5]) == (size, mtime_ns)


def sent(folder: str, row: Row) -> Sent:
    name, key, size, crc64nvme, mode, mtime_ns, at = row
    path = f"{folder}/{name}" if folder else name
    return Sent(LooseFile(path, path if key is None else key, size, crc64nvme, mode, mtime_ns), at)


def _row(file: LooseFile, at: float | None) -> Row:
    key = None if file.key == file.path else file.key
    return (split(file.path)[1], key, file.size, file.crc64nvme, file.mode, file.mtime_ns, at)
