"""The open files of processes, as /proc shows them, and where they lie.

Files are told by their path as the kernel gives it, which is that of the process's own view; for processes that see other mounts
than we do (containers) by device and inode instead, so a volume mounted elsewhere is still recognised.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path


class Places:
    """The folders and files asked for, and how to know that an open file is in one of them."""

    def __init__(self, root: Path, paths: Collection[str]) -> None:
        self._paths = tuple({os.path.realpath(root / path) for path in paths})
        self._identities: set[tuple[int, int]] | None = None
        self._mounts = link_of("/proc/self/ns/mnt")

    def sees_the_same_mounts(self, pid: int) -> bool:
        return link_of(f"/proc/{pid}/ns/mnt") == self._mounts

    def holds_path(self, opened: str) -> bool:
        return any(opened == path or opened.startswith(path + "/") for path in self._paths)

    def holds_identity(self, link: str) -> bool:
        try:
            stat = os.stat(link)
        except OSError:
            return False
        if self._identities is None:
            self._identities = set(_identities(self._paths))
        return (stat.st_dev, stat.st_ino) in self._identities


def descriptors_in(pid: int, places: Places) -> Iterator[str]:
    """The numbers of the process's open files that are in one of the places; none where we may not look."""
    folder = f"/proc/{pid}/fd"
    try:
        numbers = os.listdir(folder)
    except OSError:
        return
    by_path = places.sees_the_same_mounts(pid) if numbers else True
    for number in numbers:
        opened = link_of(f"{folder}/{number}")
        if not opened.startswith("/") or opened.startswith(("/dev/", "/proc/")):
            continue
        if places.holds_path(opened) if by_path else places.holds_identity(f"{folder}/{number}"):
            yield number


def opened_for_writing(pid: int, number: str) -> bool:
    """Whether this open file was opened for writing: the access mode in `flags` (octal) of fdinfo."""
    try:
        with open(f"/proc/{pid}/fdinfo/{number}", "rb") as file:
            flags = next((int(line.split()[1], 8) for line in file if line.startswith(b"flags:")), 0)
    except OSError:
        return False
    return flags & os.O_ACCMODE in {os.O_WRONLY, os.O_RDWR}


def _identities(paths: Collection[str]) -> Iterator[tuple[int, int]]:
    for path in paths:
        for candidate in (path, *(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)):
            try:
                stat = os.stat(candidate)
            except OSError:
                continue
            yield stat.st_dev, stat.st_ino


def link_of(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
