"""What /proc tells of processes.

Read directly and not through psutil: a look at every command line costs 7 µs per process here and 115 µs there, and this look is
taken every few seconds for as long as the trainer runs. Start times equal those of `psutil.Process.create_time()`.
"""

from __future__ import annotations

import os
import re
import time
from functools import cache
from typing import NamedTuple

from spotguard.core.launchers import SHELLS, is_launcher
from spotguard.core.process_facts import ProcessFacts, base_name
from spotguard.ports.trainer import TrainerProcess

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_MOST_BYTES = 1 << 17
"""Of a command line that are looked at: as much as one argument can hold."""


class ProcessStat(NamedTuple):
    """The fields of /proc/PID/stat that we use."""

    state: str
    ppid: int
    started_ticks: int
    """Since boot."""
    exit_code: int
    """The wait status of a zombie, where we may know it."""

    @property
    def ended(self) -> bool:
        """A zombie, or already less than one."""
        return self.state in "ZXx"


def read_stat(pid: int) -> ProcessStat | None:
    """None when there is no such process, or it may not be seen (hidepid)."""
    content = _read(f"/proc/{pid}/stat")
    if content is None or not content:
        return None
    # The name may hold spaces and brackets: everything after the last bracket is ours.
    fields = content[content.rindex(b")") + 2 :].split()
    return ProcessStat(fields[0].decode(), int(fields[1]), int(fields[19]), int(fields[49]) if len(fields) > 49 else 0)


def read_arguments(pid: int) -> tuple[str, ...]:
    """The command line, empty for kernel threads and zombies and for what is gone."""
    return _arguments(_read(f"/proc/{pid}/cmdline") or b"")


def process_facts(pid: int, arguments: tuple[str, ...] | None = None) -> ProcessFacts | None:
    """One process; None when it is gone. `arguments` saves reading the command line again."""
    stat = read_stat(pid)
    if stat is None:
        return None
    known = read_arguments(pid) if arguments is None else arguments
    caught = caught_signals(pid) if known and base_name(known[0]).lstrip("-") in SHELLS else 0
    return ProcessFacts(pid, stat.ppid, known, started(stat), stat.ended, caught)


def relevant_processes(pattern: re.Pattern[str], own_pid: int) -> tuple[ProcessFacts, ...]:
    """All that is needed to choose among the matches of `pattern`: the matches, every spotguard, this process, the ancestors of all of
    these, and what runs below a match that is a launcher. The others cost one read each and are left out."""
    command_lines = {pid: read_arguments(pid) for pid in all_pids()}
    wanted = [own_pid]
    launchers = []
    for pid, arguments in command_lines.items():
        command = " ".join(arguments)
        matches = bool(command) and pattern.search(command) is not None
        if "spotguard" in command or matches:
            wanted.append(pid)
        if matches and is_launcher(ProcessFacts(pid, 0, arguments, 0.0)):
            launchers.append(pid)
    table: dict[int, ProcessFacts] = {}
    while wanted:
        pid = wanted.pop()
        if pid > 0 and pid not in table and (facts := process_facts(pid, command_lines.get(pid))) is not None:
            table[pid] = facts
            wanted.append(facts.ppid)
    for launcher in launchers:
        table |= {facts.pid: facts for facts in process_tree(launcher)}
    return tuple(table.values())


def process_tree(root: int) -> tuple[ProcessFacts, ...]:
    """A process and all that descends from it; empty when it is gone."""
    facts = process_facts(root)
    if facts is None:
        return ()
    tree = {root: facts}
    parents = {pid: stat.ppid for pid in all_pids() if (stat := read_stat(pid)) is not None}
    below = [root]
    while below:
        above = below.pop()
        for pid, parent in parents.items():
            if parent == above and pid not in tree and (facts := process_facts(pid)) is not None:
                tree[pid] = facts
                below.append(pid)
    return tuple(tree.values())


def descendants(*, but_below: int | None) -> list[ProcessFacts]:
    """The processes that live below this one, without that one and what is below it, and without what hooks have started."""
    left_out = {os.getpid(), *(facts.pid for facts in (process_tree(but_below) if but_below is not None else ()))}
    below = process_tree(os.getpid())
    return [facts for facts in below if facts.pid not in left_out and not facts.zombie and not was_started_by_a_hook(facts.pid)]


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def started(stat: ProcessStat) -> float:
    """Seconds since the epoch, by the boot time as it stood when it was first asked for: equal for the same process as long as we
    run, whatever becomes of the wall clock."""
    return round(_boot_time() + stat.started_ticks / _TICKS_PER_SECOND, 2)


def age_seconds(stat: ProcessStat) -> float:
    """How long ago the process started, free of the wall clock; up to 10 ms too much."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - stat.started_ticks / _TICKS_PER_SECOND


def same_process_runs(process: TrainerProcess) -> bool:
    """Whether this very process still runs (a zombie does not)."""
    stat = read_stat(process.pid)
    return stat is not None and not stat.ended and started(stat) == process.started


def as_trainer(facts: ProcessFacts) -> TrainerProcess:
    command = " ".join(facts.command.split())
    return TrainerProcess(facts.pid, facts.started, command if len(command) <= 200 else command[:199] + "…")


def caught_signals(pid: int) -> int:
    """SigCgt of /proc/PID/status; 0 for what is gone or may not be seen."""
    match = re.search(rb"^SigCgt:\s*([0-9a-f]+)$", _read(f"/proc/{pid}/status") or b"", re.MULTILINE)
    return int(match.group(1), 16) if match else 0


def was_started_by_a_hook(pid: int) -> bool:
    """Whether a hook started it, or left it running: its environment says so."""
    return any(variable.startswith(b"SPOTGUARD_EVENT=") for variable in (_read(f"/proc/{pid}/environ") or b"").split(b"\0"))


@cache
def _boot_time() -> int:
    content = _read("/proc/stat") or b""
    match = re.search(rb"^btime (\d+)$", content, re.MULTILINE)
    return int(match.group(1)) if match else int(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME))


def _arguments(content: bytes) -> tuple[str, ...]:
    if not content:
        return ()
    return tuple(argument.decode("utf-8", "backslashreplace") for argument in content.rstrip(b"\0").split(b"\0"))


def _read(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, _MOST_BYTES)
    except OSError:  # ESRCH: it ended between the two calls
        return None
    finally:
        os.close(fd)
