"""Who has files under a folder open: /proc of every process that we may look into."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from spotguard.adapters.processes.open_files import Places, descriptors_in, opened_for_writing
from spotguard.adapters.processes.process_exit import ExitWatch
from spotguard.adapters.processes.process_table import all_pids, as_trainer, process_facts, read_arguments
from spotguard.adapters.processes.written_files import written_outside
from spotguard.core.trainer_choice import is_spotguard
from spotguard.ports.trainer import TrainerProcess
from spotguard.ports.writer_watch import WrittenFile


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

    async def written_outside(self, processes: Collection[TrainerProcess], looks: Callable[[str], bool]) -> frozenset[WrittenFile]:
        pids = [process.pid for process in processes]
        return await asyncio.to_thread(written_outside, pids, Places(self._root, ["."]), looks)

    async def exited_badly(self, process: TrainerProcess) -> bool | None:
        async with self._one_at_a_time:
            return self._exits.exited_badly(process)

    async def died(self, process: TrainerProcess) -> bool:
        return await self.exited_badly(process) is True

    def close(self) -> None:
        """Let go of the descriptors of processes; idempotent."""
        self._exits.close()

    def _look_for_writers(self, folders: Collection[str]) -> frozenset[TrainerProcess]:
        places = Places(self._root, folders)
        found = _found(pid for pid in _others() if any(opened_for_writing(pid, fd) for fd in descriptors_in(pid, places)))
        for process in found:
            self._exits.watch(process)
        return found

    def _look_for_users(self, folders: Collection[str]) -> frozenset[TrainerProcess]:
        places = Places(self._root, folders)
        return _found(pid for pid in _others() if _uses(pid, places))


def _uses(pid: int, places: Places) -> bool:
    spotguard = is_spotguard(read_arguments(pid))
    if any(not spotguard or opened_for_writing(pid, fd) for fd in descriptors_in(pid, places)):
        return True
    return not spotguard and _maps(pid, places)


def _maps(pid: int, places: Places) -> bool:
    """Whether a file in one of the places is mapped into memory; its descriptor may long be closed."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            mapped = {os.fsdecode(fields[5].rstrip(b"\n")) for line in file if len(fields := line.split(maxsplit=5)) == 6}
    except OSError:
        return False
    return any(places.holds_path(path) for path in mapped)


def _found(pids: Iterator[int]) -> frozenset[TrainerProcess]:
    facts = (process_facts(pid) for pid in pids)
    return frozenset(as_trainer(process) for process in facts if process is not None)


def _others() -> list[int]:
    own = os.getpid()
    return [pid for pid in all_pids() if pid != own]
