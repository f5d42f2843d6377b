"""A tree while it is being gathered."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from os import stat_result

from spotguard.adapters.disk.holding import file_stat
from spotguard.core.checkpoint import FileStat, LocalLink, Tree
from spotguard.core.file_table import FileTable
from spotguard.core.packed_rows import PackedRows, split, without


@dataclass(slots=True)
class Look:
    files: PackedRows = field(default_factory=PackedRows)
    folders: dict[str, FileStat] = field(default_factory=dict)
    links: dict[str, LocalLink] = field(default_factory=dict)
    excluded: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)
    special: set[str] = field(default_factory=set)
    sources: dict[str, str] = field(default_factory=dict)

    @classmethod
    def without(cls, known: Tree, paths: Collection[str]) -> Look:
        """All of an earlier tree but these entries and what lies in them."""
        exact, inside = frozenset(paths), tuple(f"{path}/" for path in paths)

        def kept(path: str) -> bool:
            return not path.startswith(inside) and path not in exact

        return cls(
            files=_without(known, paths, inside),
            folders={path: found for path, found in known.folders.items() if kept(path)},
            links={path: found for path, found in known.links.items() if kept(path)},
            excluded={path for path in known.excluded if kept(path)},
            unreadable={path: why for path, why in known.unreadable.items() if kept(path)},
            special={path for path in known.special if kept(path)},
            sources={path: source for path, source in known.sources.items() if kept(path)},
        )

    def tree(self) -> Tree:
        """What was gathered; the look is not to be changed any more."""
        return Tree(
            files=FileTable(self.files),
            folders=self.folders,
            links=self.links,
            excluded=frozenset(self.excluded),
            unreadable=self.unreadable,
            special=frozenset(self.special),
            sources=self.sources,
        )


def _without(known: Tree, paths: Collection[str], inside: tuple[str, ...]) -> PackedRows:
    files = FileTable.of(known.files).by_folder.copy()
    for folder in [folder for folder in files.folders() if f"{folder}/".startswith(inside)]:
        files.put(folder, ())
    for path in paths:
        folder, name = split(path)
        files.put(folder, without(files.packed(folder), name))
    return files


def same_or_new(before: FileStat | None, found: stat_result) -> FileStat:
    """The stat of an earlier look when nothing changed, so that an unchanged tree costs no second copy of it."""
    now = file_stat(found)
    return before if before is not None and before == now else now
