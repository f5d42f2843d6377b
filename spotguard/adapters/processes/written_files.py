"""Which files processes are writing that lie outside the watch root: their descriptors in /proc. Blocking: for a thread."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator

from spotguard.adapters.processes.open_files import Places, link_of, opened_for_writing
from spotguard.adapters.processes.process_table import all_pids, read_stat
from spotguard.ports.writer_watch import WrittenFile


def written_outside(pids: Collection[int], places: Places, looks: Callable[[str], bool]) -> frozenset[WrittenFile]:
    """Regular files in none of the places, of a path that `looks`, that these processes or those below them have open for writing.

    Paths are as the process sees them. What may not be looked into is left out."""
    return frozenset(WrittenFile(pid, path) for pid in _with_children(pids) for path in _written_by(pid, places, looks))


def _written_by(pid: int, places: Places, looks: Callable[[str], bool]) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    try:
        numbers = os.listdir(folder)
    except OSError:
        return
    by_path = places.sees_the_same_mounts(pid)
    for number in numbers:
        link = f"{folder}/{number}"
        path = link_of(link)
        if not path.startswith("/") or path.endswith(" (deleted)") or not looks(path):
            continue
        if places.holds_path(path) if by_path else places.holds_identity(link):
            continue
        if _is_regular(link) and opened_for_writing(pid, number):
            yield path


def _is_regular(link: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(link).st_mode)
    except OSError:
        return False


def _with_children(pids: Collection[int]) -> list[int]:
    below: dict[int, list[int]] = {}
    for pid in all_pids():
        if (found := read_stat(pid)) is not None:
            below.setdefault(found.ppid, []).append(pid)
    family, waiting = [], list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in family:
            family.append(pid)
            waiting += below.get(pid, ())
    return family
