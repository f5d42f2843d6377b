"""Looks at the watch root: every entry once, by lstat, nothing opened."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Collection, Iterator
from typing import NamedTuple

from spotguard.adapters.disk.exclusion import Exclusion
from spotguard.adapters.disk.holding import file_stat
from spotguard.adapters.disk.link_reading import NotText, read_link
from spotguard.adapters.disk.readability import Readability
from spotguard.adapters.disk.scan_look import Look, same_or_new
from spotguard.core.checkpoint import FOLDER_REASON, Tree
from spotguard.core.file_table import FileTable, row_of
from spotguard.core.packed_rows import Packing, split, with_row
from spotguard.ports.checkpoint_volume import CannotRead

_OURS = frozenset({".spotguard-tmp", ".spotguard-quarantine"})
_EMPTY = Tree({}, {}, {})

_MAY_BE_IN_A_CHECKPOINT = re.compile(r"[0-9](\.ckpt)?/")
"""There each excluded file is named, as the manifest tells of it; elsewhere the folder's name will do."""

_Above = frozenset[tuple[int, int]]
"""Below a followed link: (device, inode) of the folders that lead here, to notice a circle."""


class _Folder(NamedTuple):
    """Waits to be listed."""

    path: str
    absolute: str
    above: _Above | None


class Scanner:
    """Scans one root; may be called from several threads, and works for one at a time."""

    def __init__(self, root: str, exclusion: Exclusion, *, follow_links: bool) -> None:
        self._root = root
        self._exclusion = exclusion
        self._follow_links = follow_links
        self._last: Tree | None = None
        self._lock = threading.Lock()

    def scan(self, folders: Collection[str] | None = None) -> Tree:
        """As `CheckpointVolume.scan`. Raises CannotRead when the root cannot be made or listed."""
        with self._lock:
            try:
                os.makedirs(self._root, exist_ok=True)
            except OSError as error:
                raise CannotRead(f"{self._root}: {error.strerror}") from error
            if folders is None or self._last is None or "" in folders:
                walk = _Walk(self._root, self._exclusion, self._last or _EMPTY, Look(), follow_links=self._follow_links)
                walk.look_at_root()
            else:
                paths = {_first_that_is_no_folder(self._root, path) for path in folders}
                look = Look.without(self._last, paths)
                walk = _Walk(self._root, self._exclusion, self._last, look, follow_links=self._follow_links)
                for path in _topmost(paths):
                    walk.look_again(path)
            self._last = walk.look.tree()
            return self._last


class _Walk:
    """One scan."""

    def __init__(self, root: str, exclusion: Exclusion, known: Tree, look: Look, *, follow_links: bool) -> None:
        self.look = look
        self._root = root
        self._real_root = os.path.realpath(root)
        self._exclusion = exclusion
        self._known = known
        self._follow_links = follow_links
        self._readability = Readability()
        self._known_files = FileTable.of(known.files)
        self._waiting: list[_Folder] = []
        self._packing: Packing | None = None
        """The files of the folder that is being listed."""

    def look_at_root(self) -> None:
        try:
            self._list(_Folder("", self._root, None))
        except OSError as error:
            raise CannotRead(f"{self._root}: {error.strerror}") from error
        self._list_waiting()

    def look_again(self, path: str) -> None:
        """Look at one entry as if its folder had been listed; folders above it get a fresh stat."""
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            here = "/".join(parts[:depth])
            absolute = os.path.join(self._root, here)
            try:
                found = os.lstat(absolute)
            except OSError:
                return  # gone: nothing of it is in the look any more
            if _is_ours(here):
                return
            if depth == len(parts) or self._exclusion.leaves_out_folder(here):
                self._sort(here, absolute, found, None)
                self._list_waiting()
                return
            self.look.folders[here] = same_or_new(self._known.folders.get(here), found)

    def _list_waiting(self) -> None:
        while self._waiting:
            folder = self._waiting.pop()
            try:
                self._list(folder)
            except (FileNotFoundError, NotADirectoryError):
                self.look.folders.pop(folder.path, None)  # gone since it was seen
            except OSError as error:
                self.look.folders.pop(folder.path, None)
                self.look.unreadable[folder.path] = f"{FOLDER_REASON}that cannot be listed ({error.strerror})"

    def _list(self, folder: _Folder) -> None:
        self._packing = Packing()
        try:
            self._list_entries(folder)
        finally:
            self.look.files.put(folder.path, self._packing.packed(self._known_files.packed(folder.path)))
            self._packing = None

    def _list_entries(self, folder: _Folder) -> None:
        prefix = f"{folder.path}/" if folder.path else ""
        with os.scandir(folder.absolute) as entries:
            for entry in entries:
                path = prefix + entry.name
                if _is_ours(path):
                    continue
                if not entry.name.isascii() and not _is_utf8(entry.name):
                    kind = FOLDER_REASON if entry.is_dir(follow_symlinks=False) else "a file "
                    self.look.unreadable[_escaped(path)] = f"{kind}whose name is not UTF-8"
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # gone since the listing
                self._sort(path, entry.path, found, folder.above)

    def _sort(self, path: str, absolute: str, found: os.stat_result, above: _Above | None) -> None:
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFDIR:
            self._sort_folder(path, absolute, found, above)
        elif self._exclusion.leaves_out(path):
            self.look.excluded.add(path)
        elif kind == stat.S_IFREG:
            self._sort_file(path, absolute, found, outside=above is not None)
        elif kind == stat.S_IFLNK:
            self._sort_link(path, absolute, above)
        else:
            self.look.special.add(path)

    def _sort_file(self, path: str, absolute: str, found: os.stat_result, *, outside: bool) -> None:
        if refusal := self._readability.refusal(absolute, found):
            self.look.unreadable[path] = refusal
            return
        self._note(path, found)
        if outside:
            self.look.sources[path] = absolute

    def _note(self, path: str, found: os.stat_result) -> None:
        folder, name = split(path)
        row = row_of(name, file_stat(found))
        if self._packing is not None:
            self._packing.add(row)
        else:
            self.look.files.put(folder, with_row(self.look.files.packed(folder), row))

    def _sort_folder(self, path: str, absolute: str, found: os.stat_result, above: _Above | None) -> None:
        if self._exclusion.leaves_out_folder(path):
            named = _files_in(path, absolute) if _MAY_BE_IN_A_CHECKPOINT.search(path) else ()
            self.look.excluded.update(named or (path,))
            return
        if above is not None:
            identity = (found.st_dev, found.st_ino)
            if identity in above:
                self.look.unreadable[path] = f"{FOLDER_REASON}that holds the link which leads to it"
                return
            above |= {identity}
        self.look.folders[path] = same_or_new(self._known.folders.get(path), found)
        self._waiting.append(_Folder(path, absolute, above))

    def _sort_link(self, path: str, absolute: str, above: _Above | None) -> None:
        try:
            link = read_link(absolute, self._real_root)
        except NotText:
            self.look.unreadable[path] = "a link that leads to a name which is not UTF-8"
            return
        except OSError:
            return  # gone, or no link any more
        if link.special:
            self.look.special.add(path)
        elif link.outside is None or not self._follow_links:
            self.look.links[path] = link.as_found
        elif link.as_found.is_folder:
            self._sort_folder(path, link.real, link.outside, above if above is not None else self._identity_of_root())
        else:
            self._sort_file(path, link.real, link.outside, outside=True)

    def _identity_of_root(self) -> _Above:
        found = os.stat(self._root)
        return frozenset({(found.st_dev, found.st_ino)})


def _is_ours(path: str) -> bool:
    """What spotguard keeps under the root is not even listed."""
    name = path.rpartition("/")[2]
    return name.startswith(".spotguard") and (name == path or name in _OURS)


def _first_that_is_no_folder(root: str, path: str) -> str:
    """The path, or the link or file above it that stands where a folder was: that is what must be looked at again."""
    parts = path.split("/")
    for depth in range(1, len(parts)):
        here = "/".join(parts[:depth])
        try:
            if not stat.S_ISDIR(os.lstat(os.path.join(root, here)).st_mode):
                return here
        except OSError:
            return here
    return path


def _files_in(path: str, absolute: str) -> list[str]:
    """The names of all that is in an excluded folder; nothing is looked at."""
    found: list[str] = []
    for folder, _, files in os.walk(absolute):
        below = os.path.relpath(folder, absolute)
        found.extend(_escaped(os.path.normpath(f"{path}/{below}/{name}")) for name in files)
    return found


def _topmost(paths: Collection[str]) -> Iterator[str]:
    """Without those that lie in another."""
    last: str | None = None
    for path in sorted(paths, key=lambda path: path.split("/")):
        if last is None or not path.startswith(f"{last}/"):
            last = path
            yield path


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
