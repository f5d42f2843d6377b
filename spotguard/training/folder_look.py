"""A look at a folder of checkpoints with the standard library only: the tree of its entries, and what is in its files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping

from spotguard.adapters.structure.file_structure import finding_of
from spotguard.core.checkpoint import FileStat, LocalLink, Tree
from spotguard.core.structure import Finding, Probe


def tree_of(root: str) -> Tree:
    """Every entry under `root`, by lstat. What cannot be listed, or is named like nothing that is uploaded, is not in it."""
    files: dict[str, FileStat] = {}
    folders: dict[str, FileStat] = {}
    links: dict[str, LocalLink] = {}
    excluded: set[str] = set()
    real_root = os.path.realpath(root)
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for path, absolute, found in _entries(root, folder):
            if _is_left_out(path):
                excluded.add(path)
            elif stat.S_ISDIR(found.st_mode):
                folders[path] = _file_stat(found)
                waiting.append(path)
            elif stat.S_ISREG(found.st_mode):
                files[path] = _file_stat(found)
            elif stat.S_ISLNK(found.st_mode) and (link := _link(absolute, real_root)) is not None:
                links[path] = link
    return Tree(files, folders, links, frozenset(excluded))


def _is_left_out(path: str) -> bool:
    """As by the default of `watch.exclude`."""
    name = path.rpartition("/")[2]
    return name.endswith((".log", ".tmp")) or name == "wandb"


def findings_for(root: str, probes: Iterable[Probe]) -> Mapping[Probe, Finding]:
    """The answer to every probe; what cannot be read is not sound."""
    return {probe: _finding(os.path.join(root, probe.source), probe) for probe in probes}


def _entries(root: str, folder: str) -> Iterable[tuple[str, str, os.stat_result]]:
    prefix = f"{folder}/" if folder else ""
    try:
        names = os.listdir(os.path.join(root, folder))
    except OSError:
        return
    for name in names:
        absolute = os.path.join(root, prefix + name)
        try:
            name.encode()
            yield prefix + name, absolute, os.lstat(absolute)
        except (OSError, UnicodeEncodeError):
            continue


def _file_stat(found: os.stat_result) -> FileStat:
    return FileStat(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_dev, found.st_ino, stat.S_IMODE(found.st_mode))


def _link(path: str, real_root: str) -> LocalLink | None:
    try:
        target, real = os.readlink(path), os.path.realpath(path)
        target.encode()
        real.encode()
    except (OSError, UnicodeEncodeError):
        return None
    inside = real.startswith(real_root.rstrip("/") + "/") and os.path.exists(real)
    return LocalLink(target, real[len(real_root.rstrip("/")) + 1 :] if inside else None, os.path.isdir(real))


def _finding(path: str, probe: Probe) -> Finding:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return Finding(False, f"cannot be read: {error.strerror}")
    try:
        return finding_of(descriptor, probe.structure)
    except OSError as error:
        return Finding(False, f"cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)
