"""Whom to signal, of all processes whose command line matches (docs/trainers.md).

A process table is one look at a moving target: a parent may be missing or, after a number was reused, even lie below its child.
Nothing here relies on the table being a tree.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from spotguard.core.launchers import is_launcher, trainers_below
from spotguard.core.process_facts import ProcessFacts, base_name, python_program


class Spared(StrEnum):
    """Why a match is not signalled."""

    OURS = "ours"
    """This daemon, or a process that it descends from."""
    SPOTGUARD = "spotguard"
    """Another spotguard, or what wraps one: its arguments hold our regex."""
    ONLOOKER = "onlooker"
    """A program that names the trainer's file but does not run it."""
    WORKER = "worker"
    """Its parent has the same command line: a DataLoader worker or another fork of the trainer."""
    LAUNCHER = "launcher"
    """Other matches run below it: torchrun, a shell, sudo."""


@dataclass(frozen=True, slots=True)
class Choice:
    targets: tuple[ProcessFacts, ...] = ()
    """Sorted by pid. None of them descends from another."""
    spared: Mapping[int, Spared] = field(default_factory=dict)
    """The other matches by pid."""


ONLOOKERS = frozenset(
    {
        *("vi", "vim", "nvim", "nano", "emacs", "code"),
        *("cat", "less", "more", "tail", "grep", "rg", "watch", "journalctl"),
        *("ssh", "scp", "rsync", "screen", "tmux"),
        *("pgrep", "pkill", "gdb", "strace", "py-spy"),
        *("docker", "podman", "nerdctl", "kubectl", "srun"),
    }
)
"""Known by the program's name alone. A trainer is none of these. A SIGUSR1 would end most of them; the last ones would hand it on to
the trainer, which is signalled anyway."""


def choose(pattern: re.Pattern[str], table: Collection[ProcessFacts], own_pid: int, signal_number: int | None = None) -> Choice:
    """The processes to signal (with `signal_number`, where that is known).

    Of the matches that are not ours, a spotguard or an onlooker, one whose parent has the same command line is a worker, and one
    with other matches below it that are no workers is a launcher. What is left are the trainers. Unless parents and children form
    a ring there is one wherever there is such a match: the deepest match that is no worker is no launcher either. A match that is known
    to be a launcher stands for its ranks; before they run, and when they have ended, for nobody."""
    by_pid = {process.pid: process for process in table}
    spared: dict[int, Spared] = {}
    candidates: list[ProcessFacts] = []
    not_ours = _exclusions(by_pid, own_pid)
    for process in table:
        if process.zombie or not process.arguments or not pattern.search(process.command):
            continue
        if reason := not_ours.get(process.pid) or _onlooker(process):
            spared[process.pid] = reason
        elif _is_worker(process, by_pid):
            spared[process.pid] = Spared.WORKER
        else:
            candidates.append(process)
    launchers = {above.pid for process in candidates for above in ancestors(process, by_pid)}
    spared.update((process.pid, Spared.LAUNCHER) for process in candidates if process.pid in launchers)
    others = [process for process in table if process.pid not in not_ours and (process in candidates or process.pid not in spared)]
    targets: dict[int, ProcessFacts] = {}
    for process in candidates:
        if process.pid in launchers:
            continue
        if not is_launcher(process):
            targets[process.pid] = process
            continue
        targets |= {rank.pid: rank for rank in trainers_below(process.pid, others, signal_number)}
        if process.pid not in targets:
            spared[process.pid] = Spared.LAUNCHER
    return Choice(tuple(sorted(targets.values())), spared)


def ancestors(process: ProcessFacts, by_pid: Mapping[int, ProcessFacts]) -> Iterator[ProcessFacts]:
    """Parent, grandparent and so on, as far as the table knows them; never the process itself, none twice."""
    seen = {process.pid}
    while (parent := by_pid.get(process.ppid)) is not None and parent.pid not in seen:
        seen.add(parent.pid)
        yield parent
        process = parent


def is_spotguard(arguments: tuple[str, ...]) -> bool:
    """Whether this command line runs spotguard: by its script, or as a module."""
    if not arguments:
        return False
    if base_name(arguments[0]) == "spotguard":
        return True
    program = python_program(arguments)
    return program is not None and (
        program.partition(".")[0] == "spotguard" or base_name(program) == "spotguard" or program.endswith("spotguard/__main__.py")
    )


def _exclusions(by_pid: Mapping[int, ProcessFacts], own_pid: int) -> dict[int, Spared]:
    excluded: dict[int, Spared] = {}
    for process in by_pid.values():
        if is_spotguard(process.arguments):
            excluded[process.pid] = Spared.SPOTGUARD
            # sudo, sh -c, uv run: what wraps a spotguard repeats its arguments. A trainer that started one names no spotguard.
            excluded.update((above.pid, Spared.SPOTGUARD) for above in ancestors(process, by_pid) if "spotguard" in above.command)
    excluded[own_pid] = Spared.OURS
    if own := by_pid.get(own_pid):
        excluded.update((above.pid, Spared.OURS) for above in ancestors(own, by_pid))
    return excluded


def _onlooker(process: ProcessFacts) -> Spared | None:
    return Spared.ONLOOKER if base_name(process.arguments[0]).rstrip(":") in ONLOOKERS else None


def _is_worker(process: ProcessFacts, by_pid: Mapping[int, ProcessFacts]) -> bool:
    parent = by_pid.get(process.ppid)
    return parent is not None and parent.pid != process.pid and parent.arguments == process.arguments
