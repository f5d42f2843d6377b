"""Who has files under a folder open: /proc of every process that we may look into.

Files are told by their path as the kernel gives it, which is that of the process's own view; for processes that see other mounts
than we do (containers) by device and inode instead, so a volume mounted elsewhere is still recognised.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from spotguard.adapters.process_exit import ExitWatch
from spotguard.adapters.process_table import all_pids, as_trainer, process_facts, read_arguments
from spotguard.core.trainer_choice import is_spotguard
from spotguard.ports.trainer import TrainerProcess


class ProcWriterWatch:
    def __init__(self, root: Path = Path("/")) -> None:
        """`root`: what relative paths are relative to."""
        self._root = root
        self._exits = ExitWatch()
        self._one_at_a_time = asyncio.Lock()  # the descriptors belong to one thread at a time

    async def writers(self, folders: Collection[str]) -> frozenset[TrainerProcess]:
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._look_for_writers, folders)

    async def users(self, folders: Collection[str]) -> frozenset[TrainerProcess]:
        return await asyncio.to_thread(self._look_for_users, folders)

    async def exited_badly(self, process: TrainerProcess) -> bool | None:
        async with self._one_at_a_time:
            return self._exits.exited_badly(process)

    async def died(self, process: TrainerProcess) -> bool:
        return await self.exited_badly(process) is True

    def close(self) -> None:
        """Let go of the descriptors of processes; idempotent."""
        self._exits.close()

    def _look_for_writers(self, folders: Collection[str]) -> frozenset[TrainerProcess]:
        places = _Places(self._root, folders)
        found = _found(pid for pid in _others() if any(_writes(pid, fd) for fd in _descriptors_in(pid, places)))
        for process in found:
            self._exits.watch(process)
        return found

    def _look_for_users(self, folders: Collection[str]) -> frozenset[TrainerProcess]:
        places = _Places(self._root, folders)
        return _found(pid for pid in _others() if _uses(pid, places))


class _Places:
    """The folders and files asked for, and how to know that an open file is in one of them."""

    def __init__(self, root: Path, paths: Collection[str]) -> None:
        self._paths = tuple({os.path.realpath(root / path) for path in paths})
        self._identities: set[tuple[int, int]] | None = None
        self._mounts = _link("/proc/self/ns/mnt")

    def sees_the_same_mounts(self, pid: int) -> bool:
        return _link(f"/proc/{pid}/ns/mnt") == self._mounts

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


def _uses(pid: int, places: _Places) -> bool:
    spotguard = is_spotguard(read_arguments(pid))
    if any(not spotguard or _writes(pid, fd) for fd in _descriptors_in(pid, places)):
        return True
    return not spotguard and _maps(pid, places)


def _descriptors_in(pid: int, places: _Places) -> Iterator[str]:
    """The numbers of the process's open files that are in one of the places; none where we may not look."""
    folder = f"/proc/{pid}/fd"
    try:
        numbers = os.listdir(folder)
    except OSError:
        return
    by_path = places.sees_the_same_mounts(pid) if numbers else True
    for number in numbers:
        opened = _link(f"{folder}/{number}")
        if not opened.startswith("/") or opened.startswith(("/dev/", "/proc/")):
            continue
        if places.holds_path(opened) if by_path else places.holds_identity(f"{folder}/{number}"):
            yield number


def _writes(pid: int, number: str) -> bool:
    """Whether this open file was opened for writing: the access mode in `flags` (octal) of fdinfo."""
    try:
        with open(f"/proc/{pid}/fdinfo/{number}", "rb") as file:
            flags = next((int(line.split()[1], 8) for line in file if line.startswith(b"flags:")), 0)
    except OSError:
        return False
    return flags & os.O_ACCMODE in {os.O_WRONLY, os.O_RDWR}


def _maps(pid: int, places: _Places) -> bool:
    """Whether a file in one of the places is mapped into memory; its descriptor may long be closed."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            mapped = {os.fsdecode(fields[5].rstrip(b"\n")) for line in file if len(fields := line.split(maxsplit=5)) == 6}
    except OSError:
        return False
    return any(places.holds_path(path) for path in mapped)


def _identities(paths: Collection[str]) -> Iterator[tuple[int, int]]:
    for path in paths:
        for candidate in (path, *(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)):
            try:
                stat = os.stat(candidate)
            except OSError:
                continue
            yield stat.st_dev, stat.st_ino


def _found(pids: Iterator[int]) -> frozenset[TrainerProcess]:
    facts = (process_facts(pid) for pid in pids)
    return frozenset(as_trainer(process) for process in facts if process is not None)


def _others() -> list[int]:
    own = os.getpid()
    return [pid for pid in all_pids() if pid != own]


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
