"""Looks at the watch root: every entry once, by lstat, nothing opened."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from spotguard.adapters.exclusion import Exclusion
from spotguard.adapters.holding import file_stat
from spotguard.adapters.link_reading import NotText, read_link
from spotguard.adapters.readability import Readability
from spotguard.core.checkpoint import FileStat, LocalLink, Tree
from spotguard.core.layouts.tree_index import FOLDER_REASON
from spotguard.ports.checkpoint_volume import CannotRead

_OURS = frozenset({".spotguard-tmp", ".spotguard-quarantine"})


class Waiting(tuple[str, str, frozenset[tuple[int, int]] | None]):
    """A folder to list: its path under the root, its absolute path, and, below a followed link, the folders (device, inode) above it."""


@dataclass(slots=True)
class Look:
    """A tree while it is being gathered."""

    known: Tree
    """The look before: stats that are equal are taken from it, so that an unchanged tree costs no second copy."""
    files: dict[str, FileStat] = field(default_factory=dict)
    folders: dict[str, FileStat] = field(default_factory=dict)
    links: dict[str, LocalLink] = field(default_factory=dict)
    excluded: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)
    special: set[str] = field(default_factory=set)
    sources: dict[str, str] = field(default_factory=dict)
    waiting: list[tuple[str, str, frozenset[tuple[int, int]] | None]] = field(default_factory=list)

    @classmethod
    def without(cls, known: Tree, paths: Collection[str]) -> Look:
        """All of the look before but these entries and what lies in them."""
        exact, inside = frozenset(paths), tuple(f"{path}/" for path in paths)

        def kept(path: str) -> bool:
            return not path.startswith(inside) and path not in exact

        return cls(
            known,
            files={path: found for path, found in known.files.items() if kept(path)},
            folders={path: found for path, found in known.folders.items() if kept(path)},
            links={path: found for path, found in known.links.items() if kept(path)},
            excluded={path for path in known.excluded if kept(path)},
            unreadable={path: why for path, why in known.unreadable.items() if kept(path)},
            special={path for path in known.special if kept(path)},
            sources={path: source for path, source in known.sources.items() if kept(path)},
        )

    def tree(self) -> Tree:
        return Tree(
            files=self.files,
            folders=self.folders,
            links=self.links,
            excluded=frozenset(self.excluded),
            unreadable=self.unreadable,
            special=frozenset(self.special),
            sources=self.sources,
        )


_EMPTY = Tree({}, {}, {})


class Scanner:
    """Scans one root; safe to be called from several threads, one at a time."""

    def __init__(self, root: str, exclusion: Exclusion, *, follow_links: bool) -> None:
        self._root = root
        self._exclusion = exclusion
        self._follow_links = follow_links
        self._readability = Readability()
        self._last: Tree | None = None
        self._lock = threading.Lock()

    def scan(self, folders: Collection[str] | None = None) -> Tree:
        """As `CheckpointVolume.scan`. Raises CannotRead when the root cannot be made or listed."""
        with self._lock:
            real_root = self._made_root()
            if folders is None or self._last is None or "" in folders:
                look = Look(self._last or _EMPTY)
                self._list(look, "", self._root, None, real_root)
            else:
                look = Look.without(self._last, folders)
                for path in _topmost(folders):
                    self._look_again(look, path, real_root)
            while look.waiting:
                self._list(look, *look.waiting.pop(), real_root)
            self._last = look.tree()
            return self._last

    def _made_root(self) -> str:
        try:
            os.makedirs(self._root, exist_ok=True)
        except OSError as error:
            raise CannotRead(f"{self._root}: {error.strerror}") from error
        return os.path.realpath(self._root)

    def _list(
        self, look: Look, folder: str, absolute: str, above: frozenset[tuple[int, int]] | None, real_root: str
    ) -> None:
        prefix = f"{folder}/" if folder else ""
        try:
            with os.scandir(absolute) as entries:
                for entry in entries:
                    self._enter(look, prefix + entry.name, entry, above, real_root)
        except (FileNotFoundError, NotADirectoryError) as error:
            if not folder:
                raise CannotRead(f"{self._root}: {error.strerror}") from error
        except OSError as error:
            if not folder:
                raise CannotRead(f"{self._root}: {error.strerror}") from error
            look.folders.pop(folder, None)
            look.unreadable[folder] = f"{FOLDER_REASON}that cannot be listed ({error.strerror})"

    def _enter(
        self, look: Look, path: str, entry: os.DirEntry[str], above: frozenset[tuple[int, int]] | None, real_root: str
    ) -> None:
        """Sort one entry into the look."""
        name = entry.name
        if name.startswith(".spotguard") and (name in _OURS or name == path):
            return
        is_folder = entry.is_dir(follow_symlinks=False)
        if not name.isascii() and not _is_utf8(name):
            look.unreadable[_escaped(path)] = f"{FOLDER_REASON if is_folder else ''}whose name is not UTF-8".lstrip()
            return
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            return  # gone since the listing
        self._sort(look, path, entry.path, found, above, real_root)

    def _sort(
        self,
        look: Look,
        path: str,
        absolute: str,
        found: os.stat_result,
        above: frozenset[tuple[int, int]] | None,
        real_root: str,
    ) -> None:
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFDIR:
            self._sort_folder(look, path, absolute, found, above)
        elif self._exclusion.leaves_out(path):
            look.excluded.add(path)
        elif kind == stat.S_IFREG:
            self._sort_file(look, path, absolute, found, outside=above is not None)
        elif kind == stat.S_IFLNK:
            self._sort_link(look, path, absolute, above, real_root)
        else:
            look.special.add(path)

    def _sort_file(self, look: Look, path: str, absolute: str, found: os.stat_result, *, outside: bool) -> None:
        if refusal := self._readability.refusal(absolute, found):
            look.unreadable[path] = refusal
            return
        look.files[path] = _known(look.known.files.get(path), found)
        if outside:
            look.sources[path] = absolute

    def _sort_folder(
        self, look: Look, path: str, absolute: str, found: os.stat_result, above: frozenset[tuple[int, int]] | None
    ) -> None:
        if self._exclusion.leaves_out_folder(path):
            look.excluded.add(path)
            return
        if above is not None:
            identity = (found.st_dev, found.st_ino)
            if identity in above:
                look.unreadable[path] = f"{FOLDER_REASON}that holds the link which leads to it"
                return
            above |= {identity}
        look.folders[path] = _known(look.known.folders.get(path), found)
        look.waiting.append((path, absolute, above))

    def _sort_link(
        self, look: Look, path: str, absolute: str, above: frozenset[tuple[int, int]] | None, real_root: str
    ) -> None:
        try:
            link = read_link(absolute, real_root)
        except NotText:
            look.unreadable[path] = "a link that leads to a name which is not UTF-8"
            return
        except OSError:
            return  # gone, or no link any more
        if link.special:
            look.special.add(path)
        elif link.outside is None or not self._follow_links:
            look.links[path] = link.as_found
        elif stat.S_ISREG(link.outside.st_mode):
            self._sort_file(look, path, link.real, link.outside, outside=True)
        else:
            start = above if above is not None else frozenset({_identity(self._root)})
            self._sort_folder(look, path, link.real, link.outside, start)

    def _look_again(self, look: Look, path: str, real_root: str) -> None:
        """Look at one entry as if its folder had been listed; folders above it get a fresh stat."""
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            here = "/".join(parts[:depth])
            absolute = os.path.join(self._root, here)
            try:
                found = os.lstat(absolute)
            except OSError:
                return  # gone: nothing of it is in the look any more
            if depth == len(parts) or not stat.S_ISDIR(found.st_mode):
                self._sort(look, here, absolute, found, None, real_root)
                return
            if self._exclusion.leaves_out_folder(here) or parts[depth - 1] in _OURS:
                return
            look.folders[here] = _known(look.known.folders.get(here), found)


def _topmost(folders: Collection[str]) -> Iterator[str]:
    """Without those that lie in another."""
    last = None
    for path in sorted(folders, key=lambda path: path.split("/")):
        if last is None or not path.startswith(f"{last}/") and path != last:
            last = path
            yield path


def _known(before: FileStat | None, found: os.stat_result) -> FileStat:
    now = file_stat(found)
    return before if before == now else now


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
