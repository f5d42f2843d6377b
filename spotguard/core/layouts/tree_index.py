"""A look at the watch root, arranged by folder, without what is never ours to send."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from spotguard.core.checkpoint import FileStat, LocalLink, Tree
from spotguard.core.file_table import FileTable

NUMBERED_CHECKPOINT = re.compile(r"^checkpoint-[0-9]+$")
"""The Hugging Face Trainer's folder name (`transformers.trainer_utils.PREFIX_CHECKPOINT_DIR`)."""

MAX_KEY_BYTES = 1024
"""S3: an object key is at most 1,024 bytes of UTF-8."""

_OURS_ANYWHERE = frozenset({".spotguard-tmp", ".spotguard-quarantine"})
_MAY_BE_IGNORED = re.compile(r"spotguard-|-checkpoint|\.sagemaker-|_temp")
_UNDER_CONSTRUCTION = re.compile(r"^tmp-checkpoint|\.orbax-checkpoint-tmp")
"""Folders that are renamed when they are whole: transformers 4.36 to 4.38, Orbax."""
_UNMERGED = re.compile(r"_temp(_[0-9a-f]{32})?/part-[0-9]{5}-of-[0-9]{5}\.[^/]*$")
"""What each shard of a TensorFlow checkpoint is written to before all are merged."""
_MARKS = (".sagemaker-uploading", ".sagemaker-uploaded")
"""SageMaker's uploader lays them beside the files (transformers `trainer.py` lists them)."""
_UNFINISHED = "-unfinished"
"""NeMo's empty marker beside a checkpoint that is being saved or deleted."""
_SIGNS_OF_IGNORED_FILES = (b".sagemaker-", b"-unfinished")
"""In the name of each file below the root that is ignored though its folder is not, but for those that `_UNMERGED` tells by the folder."""


def last_name(path: str) -> str:
    """The last component."""
    return path.rpartition("/")[2]


def parent_of(path: str) -> str:
    """The folder that holds it, empty at the top."""
    return path.rpartition("/")[0]


def is_ignored(path: str, *, folder: bool = False) -> bool:
    """Whether a path is never looked at: ours by name, in a folder that its framework renames when it is done, or an uploader's mark."""
    if path == "last_sync.json" or path.startswith(".spotguard"):
        return True
    if not _MAY_BE_IGNORED.search(path):  # cheap, as it is asked for each file
        return False
    parts = path.split("/")
    if any(part in _OURS_ANYWHERE or _UNDER_CONSTRUCTION.search(part) for part in (parts if folder else parts[:-1])):
        return True
    return (not folder and parts[-1].endswith(_MARKS)) or _UNMERGED.search(path) is not None


def _is_ignored_file(path: str, stat: FileStat) -> bool:
    return is_ignored(path) or (stat.size == 0 and path.endswith(_UNFINISHED))


@dataclass(slots=True)
class Entries:
    """What one folder holds, as paths under the root. Filled once, by `TreeIndex.of`; of the files nothing is kept: there may be many."""

    folder: str
    table: FileTable
    folders: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        """Made anew each time."""
        prefix = f"{self.folder}/" if self.folder else ""
        return [prefix + name for name in self.file_names()]

    def file_names(self) -> Iterable[str]:
        """The last components of the files."""
        if self._nothing_is_ignored():
            return self.table.names_in(self.folder)
        return [last_name(path) for path, _ in self.stats()]

    def stats(self) -> Iterator[tuple[str, FileStat]]:
        """(path, stat) of each file."""
        found = self.table.directly_in(self.folder)
        return found if self._nothing_is_ignored() else ((path, stat) for path, stat in found if not _is_ignored_file(path, stat))

    def holds_a_file(self) -> bool:
        return next(self.stats(), None) is not None

    def _nothing_is_ignored(self) -> bool:
        """Told from the packed names of all files at once; the folder itself is not ignored."""
        if not self.folder or "_temp" in self.folder:
            return False
        return not any(sign in piece for piece in self.table.packed(self.folder) for sign in _SIGNS_OF_IGNORED_FILES)


_NOTHING = Entries("", FileTable.of({}))


@dataclass(frozen=True, slots=True)
class TreeIndex:
    tree: Tree
    table: FileTable
    by_folder: dict[str, Entries]
    runs: frozenset[str]
    """Folders with a `checkpoint-<N>` folder somewhere below them."""
    _unpacked: dict[str, dict[str, FileStat]] = field(default_factory=dict)

    @classmethod
    def of(cls, tree: Tree) -> TreeIndex:
        table, by_folder = FileTable.of(tree.files), dict[str, Entries]()
        runs: set[str] = set()

        def entries(folder: str) -> Entries:
            return by_folder.setdefault(folder, Entries(folder, table))

        entries("")
        for path in tree.folders:
            if is_ignored(path, folder=True):
                continue
            entries(path)
            entries(parent_of(path)).folders.append(path)
            if NUMBERED_CHECKPOINT.match(last_name(path)):
                runs.update(ancestors(path))
        for path in tree.links:
            if not is_ignored(path):
                entries(parent_of(path)).links.append(path)
        for folder in table.folders():
            if not is_ignored(folder, folder=True):
                entries(folder)
        return cls(tree, table, by_folder, frozenset(runs))

    def entries(self, folder: str) -> Entries:
        return self.by_folder.get(folder, _NOTHING)

    def below(self, folder: str) -> Iterator[Entries]:
        """The entries of the folder and of all folders in it."""
        waiting = [folder]
        while waiting:
            entries = self.entries(waiting.pop())
            yield entries
            waiting.extend(entries.folders)

    def holds_something(self, folder: str) -> bool:
        """Whether a file or link is anywhere in it, or what cannot be looked at. A folder may be made long before it is filled."""
        if any(entries.links or entries.holds_a_file() for entries in self.below(folder)):
            return True
        return any(path.startswith(f"{folder}/") for path in self.tree.unreadable)

    def linked_file(self, link: str) -> tuple[str, FileStat] | None:
        """The file under the root that a link leads to, if it leads to one that may be sent."""
        resolved = self.tree.links[link].resolved
        if resolved is None or is_ignored(resolved):
            return None
        stat = self.file(resolved)
        return None if stat is None else (resolved, stat)

    def file(self, path: str) -> FileStat | None:
        """The stat of a file, ignored or not; for many files of one folder, which is unpacked once."""
        folder = parent_of(path)
        if folder not in self._unpacked:
            self._unpacked[folder] = dict(self.table.directly_in(folder))
        return self._unpacked[folder].get(path)

    def leads_out(self, link: str) -> bool:
        """Whether a link leads out of the root. One whose target under the root is merely gone does not."""
        found = self.tree.links[link]
        if found.resolved is not None:
            return False
        lexical = lexical_target(link, found)
        return lexical is None or lexical in self.tree.links


def lexical_target(link: str, found: LocalLink) -> str | None:
    """Where the text of a link points under the root, without following any other link; None for out of it."""
    if found.target.startswith("/"):
        return None
    path = posixpath.normpath(posixpath.join(parent_of(link), found.target))
    return None if path == ".." or path.startswith("../") else path


def ancestors(path: str) -> Iterator[str]:
    """The folders that it lies in, the nearest first."""
    while path := parent_of(path):
        yield path


@dataclass(frozen=True, slots=True)
class Place:
    """One folder that lies outside of any checkpoint, as a layout sees it."""

    path: str
    index: TreeIndex
    files: Sequence[str]
    """Files, and links to files under the root."""
    folders: Sequence[str]
    """Without links to folders: those are other names of something that is found by itself."""

    def file_names_in(self, folder: str) -> frozenset[str]:
        """The last components of the files and links directly in a folder."""
        entries = self.index.entries(folder)
        return frozenset((*entries.file_names(), *map(last_name, entries.links)))

    def folder_names_in(self, folder: str) -> frozenset[str]:
        """The last components of the folders directly in a folder."""
        return frozenset(last_name(path) for path in self.index.entries(folder).folders)

    def links_to(self, path: str) -> tuple[str, ...]:
        """The links in this folder that lead to that file or folder."""
        links = self.index.tree.links
        return tuple(link for link in self.index.entries(self.path).links if links[link].resolved == path)
