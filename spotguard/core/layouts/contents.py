"""What belongs to a claimed checkpoint: its files, folders and links, and why it cannot be stored as it lies there."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

from spotguard.core.checkpoint import FileStat, LocalCheckpoint, LocalFile, LocalLink, Pointer, Tree, Unit
from spotguard.core.layouts.base import Claim
from spotguard.core.layouts.tree_index import MAX_KEY_BYTES, TreeIndex, last_name, lexical_target, parent_of

_MOST_LINKED_FOLDERS = 1_000
_MOST_LINKED = 200_000
"""Entries that links may bring into one checkpoint: links to links can double without end."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a scan left out within one checkpoint (paths under the root), and its companions."""

    unreadable: tuple[tuple[str, str], ...] = ()
    excluded: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()


def checkpoint_of(index: TreeIndex, claim: Claim, layout: str, around: Surroundings) -> LocalCheckpoint:
    """The checkpoint as it lies on disk."""
    gathered = _Gathered(index, claim.name)
    base = claim.name if claim.unit is Unit.DIRECTORY else parent_of(claim.name)
    if claim.unit is Unit.DIRECTORY:
        gathered.walk(claim.name)
    else:
        for member in claim.members:
            gathered.add_member(member, base)
    for path, reason in around.unreadable:
        gathered.faults.append(f"{_relative(path, base)}: {reason}")
    excluded = sorted({*gathered.excluded, *(_relative(path, base) for path in around.excluded)})
    files = tuple(sorted(gathered.files))
    _check_lengths(gathered, base)
    return LocalCheckpoint(
        name=claim.name,
        layout=layout,
        unit=claim.unit,
        files=files,
        folders=tuple(sorted(gathered.folders)),
        links=tuple(sorted(gathered.links)),
        companions=tuple(sorted(around.companions)),
        pointers=_pointers(index, claim),
        links_beside=tuple((path, _relative_target(index, path)) for path in sorted(claim.links)),
        pending=claim.pending,
        in_place=claim.in_place,
        excluded=tuple(excluded),
        broken=_told(sorted(gathered.faults)),
        doubt=claim.doubt,
        newest_change_ns=gathered.newest_ns,
    )


def _pointers(index: TreeIndex, claim: Claim) -> tuple[Pointer, ...]:
    there = [(pointer, index.tree.files.get(pointer.path)) for pointer in claim.pointers]
    return tuple(Pointer(LocalFile(pointer.path, pointer.path, stat), pointer.text) for pointer, stat in there if stat is not None)


def _relative_target(index: TreeIndex, link: str) -> str:
    """Where it leads, as text that means the same wherever the watch root lies."""
    return posixpath.relpath(index.tree.links[link].resolved or "", parent_of(link) or ".")


def as_local_file(tree: Tree, path: str, source: str, stat: FileStat) -> LocalFile:
    """`source` may be another path under the root, by a link; where that was found outside, it is opened there."""
    return LocalFile(path, tree.sources.get(source, source), stat)


def too_long(path: str) -> bool:
    """Whether no key can hold it. (A prefix takes its share besides.)"""
    return len(path) > MAX_KEY_BYTES // 4 and len(path.encode()) > MAX_KEY_BYTES


@dataclass(slots=True)
class _Gathered:
    """Collects one checkpoint; lives as long as `checkpoint_of`."""

    index: TreeIndex
    name: str
    files: list[LocalFile] = field(default_factory=list)
    folders: list[tuple[str, int]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    newest_ns: int = 0
    linked: int = 0

    def walk(self, folder: str) -> None:
        """Take the folder and all in it, with what its links bring in from elsewhere under the root."""
        self._note(self.index.tree.folders.get(folder))
        waiting: list[tuple[str, str, frozenset[str]]] = [(folder, "", frozenset())]
        grafts = 0
        while waiting and self.linked <= _MOST_LINKED and grafts <= _MOST_LINKED_FOLDERS:
            here, prefix, through = waiting.pop()
            entries = self.index.entries(here)
            before = len(self.files)
            for path, stat in entries.stats():
                self._take(prefix + last_name(path), path, stat)
            self.linked += bool(through) * (1 + len(self.files) - before + len(entries.links))
            for path in entries.folders:
                self._take_folder(prefix + last_name(path), path)
                waiting.append((path, f"{prefix}{last_name(path)}/", through))
            for path in entries.links:
                if grafted := self._take_link(prefix + last_name(path), path, through):
                    grafts += 1
                    waiting.append((grafted, f"{prefix}{last_name(path)}/", through | {grafted}))
        if waiting:
            self.faults.append(f"links bring in more than {_MOST_LINKED_FOLDERS} folders or {_MOST_LINKED} files")

    def add_member(self, member: str, base: str) -> None:
        """Take one file, or link to a file, of a checkpoint that is no folder."""
        path = _relative(member, base)
        if stat := self.index.file(member):
            self._take(path, member, stat)
        elif found := self.index.linked_file(member):
            self._take(path, *found)

    def _note(self, stat: FileStat | None) -> None:
        if stat is not None:
            self.newest_ns = max(self.newest_ns, stat.mtime_ns, stat.ctime_ns)

    def _take(self, path: str, source: str, stat: FileStat) -> None:
        self.files.append(as_local_file(self.index.tree, path, source, stat))
        self._note(stat)

    def _take_folder(self, path: str, source: str) -> None:
        stat = self.index.tree.folders[source]
        self.folders.append((path, stat.mode))
        self._note(stat)

    def _take_link(self, path: str, source: str, through: frozenset[str]) -> str | None:
        """Take a link as a link, as a file, or give the folder whose content stands for it."""
        link = self.index.tree.links[source]
        if not through and self._stays_inside(source, link):
            self.links.append((path, link.target))
        elif link.resolved is None:
            gone = "out of the watch root" if self.index.leads_out(source) else "to nothing"
            self.faults.append(f"the link {path} leads {gone} ({link.target})")
        elif found := self.index.linked_file(source):
            self._take(path, *found)
        elif link.resolved in self.index.tree.folders or link.resolved == "":
            return self._grafted(path, link.resolved, through)
        else:
            self._left_out(path, link.resolved)
        return None

    def _grafted(self, path: str, folder: str, through: frozenset[str]) -> str | None:
        if folder in through or not folder or f"{self.name}/".startswith(f"{folder}/"):
            self.faults.append(f"the link {path} leads to a folder that holds it ({folder or 'the watch root'})")
            return None
        self._take_folder(path, folder)
        inside = f"{folder}/"
        for each, reason in self.index.tree.unreadable.items():
            if each.startswith(inside):
                self.faults.append(f"{path}/{each.removeprefix(inside)}: {reason}")
        self.excluded.extend(f"{path}/{each.removeprefix(inside)}" for each in self.index.tree.excluded if each.startswith(inside))
        return folder

    def _left_out(self, path: str, resolved: str) -> None:
        if resolved in self.index.tree.excluded:
            self.excluded.append(path)
        else:
            why = self.index.tree.unreadable.get(resolved, "which is not looked at")
            self.faults.append(f"the link {path} leads to {resolved}, {why}")

    def _stays_inside(self, source: str, link: LocalLink) -> bool:
        """Whether the link's text alone leads nowhere but into this checkpoint, wherever it is restored to."""
        text = lexical_target(source, link)
        inside = f"{self.name}/"
        if text is None or not f"{text}/".startswith(inside):
            return False
        depth = source.removeprefix(inside).count("/")
        for part in link.target.split("/"):
            depth += -1 if part == ".." else part not in ("", ".")
            if depth < 0:
                return False
        if link.resolved is None:
            return text not in self.index.tree.links
        return f"{link.resolved}/".startswith(inside)


def _relative(path: str, base: str) -> str:
    return path.removeprefix(f"{base}/") if base else path


def _check_lengths(gathered: _Gathered, base: str) -> None:
    for file in gathered.files:
        path = f"{base}/{file.path}" if base else file.path
        if too_long(path):
            gathered.faults.append(f"{file.path[:60]}…: a name longer than the {MAX_KEY_BYTES} bytes that S3 allows")


def _told(faults: list[str]) -> str | None:
    if not faults:
        return None
    return faults[0] if len(faults) == 1 else f"{faults[0]} (and {len(faults) - 1} more)"
