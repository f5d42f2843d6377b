"""The loose files that a look has found, made out of it when they are asked for: there may be many, and they seldom change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from spotguard.core.checkpoint import LocalFile
from spotguard.core.layouts.contents import as_local_file, too_long
from spotguard.core.layouts.tree_index import TreeIndex, parent_of
from spotguard.core.packed_rows import Packed


@dataclass(frozen=True, slots=True)
class LooseFolder:
    """The loose files directly in one folder."""

    path: str
    index: TreeIndex
    owned: frozenset[str]
    """What of the folder's files and links belongs to checkpoints."""

    @property
    def state(self) -> tuple[Packed, frozenset[str], tuple[LocalFile, ...]]:
        """Equal where the folder holds the same loose files with the same content."""
        return self.index.table.packed(self.path), self.owned, tuple(self._linked())

    def files(self) -> Iterator[LocalFile]:
        """By path, without those that no key can hold."""
        return iter(sorted(file for file in self._files() if not too_long(file.path)))

    def _files(self) -> Iterator[LocalFile]:
        tree = self.index.tree
        for path, stat in self.index.entries(self.path).stats():
            if path not in self.owned:
                yield as_local_file(tree, path, path, stat)
        yield from self._linked()

    def _linked(self) -> Iterator[LocalFile]:
        for link in self.index.entries(self.path).links:
            if link not in self.owned and (found := self.index.linked_file(link)):
                yield as_local_file(self.index.tree, link, *found)


class LooseListing(Mapping[str, LocalFile]):
    """By path under the watch root. Going through it folder by folder is the quick way."""

    def __init__(self, index: TreeIndex, outside: Iterable[str], owned: Iterable[str]) -> None:
        """`outside`: the folders outside of any checkpoint; `owned`: files and links there that belong to checkpoints nevertheless."""
        by_folder: dict[str, set[str]] = defaultdict(set)
        for path in owned:
            by_folder[parent_of(path)].add(path)
        self._folders = {path: LooseFolder(path, index, frozenset(by_folder.get(path, ()))) for path in sorted(outside)}

    def folders(self) -> Sequence[LooseFolder]:
        return tuple(self._folders.values())

    def __getitem__(self, path: str) -> LocalFile:
        folder = self._folders.get(parent_of(path))
        for file in folder.files() if folder is not None else ():
            if file.path == path:
                return file
        raise KeyError(path)

    def __iter__(self) -> Iterator[str]:
        for folder in self._folders.values():
            for file in folder.files():
                yield file.path

    def __len__(self) -> int:
        return sum(1 for _ in self)
