"""The trainer as processes of this machine, found by a pid file or by a regex over command lines."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from spotguard.adapters.processes.process_signal import send_signal
from spotguard.adapters.processes.process_table import (
    age_seconds,
    as_trainer,
    process_facts,
    read_stat,
    relevant_processes,
    same_process_runs,
)
from spotguard.core.trainer_choice import Spared, choose
from spotguard.ports.trainer import TrainerProcess

log = structlog.get_logger()


class ProcessTrainer:
    """What all kinds have in common: this very process, by its number and start time. Alone it is a trainer that is not
    configured."""

    @property
    def configured(self) -> bool:
        return False

    async def find(self) -> Sequence[TrainerProcess]:
        return ()

    async def alive(self, process: TrainerProcess) -> bool:
        return same_process_runs(process)

    async def signal(self, process: TrainerProcess, signal_name: str) -> None:
        send_signal(process, signal_name)


class RegexTrainer(ProcessTrainer):
    """`trainer.process`: the matches that are neither workers nor launchers, nor ours."""

    def __init__(self, pattern: str) -> None:
        """Raises re.error."""
        self._pattern = re.compile(pattern)
        self._launchers: set[TrainerProcess] = set()
        """Who was seen to have ranks: it is nobody's trainer when they have ended, though a shell by itself could be one."""

    @property
    def configured(self) -> bool:
        return True

    async def find(self) -> Sequence[TrainerProcess]:
        return await asyncio.to_thread(self._look)

    def _look(self) -> tuple[TrainerProcess, ...]:
        table = {facts.pid: facts for facts in relevant_processes(self._pattern, os.getpid())}
        choice = choose(self._pattern, table.values(), os.getpid())
        self._launchers = {launcher for launcher in self._launchers if launcher.pid in table}
        self._launchers |= {as_trainer(table[pid]) for pid, why in choice.spared.items() if why is Spared.LAUNCHER}
        return tuple(trainer for facts in choice.targets if (trainer := as_trainer(facts)) not in self._launchers)


CLOCK_GRAIN_SECONDS = 0.2
"""A file's time comes from a clock that is up to 10 ms behind; a process that writes its number at once must still be the older."""


class PidFileTrainer(ProcessTrainer):
    """`trainer.pid_file`: the process whose number the file holds, if it is older than the file. A younger one got the number
    after the one that was meant had ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._complaint: str | None = None

    @property
    def configured(self) -> bool:
        return True

    async def find(self) -> Sequence[TrainerProcess]:
        found, complaint = await asyncio.to_thread(self._look)
        if complaint and complaint != self._complaint:
            log.warning("pid_file.refused", path=str(self._path), reason=complaint)
        self._complaint = complaint
        return found

    def _look(self) -> tuple[tuple[TrainerProcess, ...], str | None]:
        """The process, or none and why, where that is worth a line: no file and an old number are not."""
        try:
            with open(self._path, "rb") as file:
                content, written = file.read(64), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return (), None
        except OSError as error:
            return (), f"cannot be read: {error.strerror}"
        number = content.split(maxsplit=1)[0] if content.strip() else b""
        if not re.fullmatch(rb"[1-9][0-9]{0,9}", number):
            return (), "holds no process number" if number else None  # empty: is just being written
        stat = read_stat(int(number))
        if stat is None or stat.ended:
            return (), None
        if age_seconds(stat) < time.time() - written - CLOCK_GRAIN_SECONDS:
            return (), f"process {int(number)} is younger than the file"
        return found_process(int(number))


def found_process(pid: int) -> tuple[tuple[TrainerProcess, ...], str | None]:
    """The process of this number, unless it has ended, or it is us or one that we descend from (then with a complaint)."""
    facts = process_facts(pid)
    if facts is None or facts.zombie:
        return (), None
    if is_ours(pid):
        return (), f"process {pid} is spotguard itself or one that started it"
    return (as_trainer(facts),), None


def is_ours(pid: int) -> bool:
    """Whether this is the number of this process or of one that it descends from."""
    lineage: set[int] = set()
    above = os.getpid()
    while above > 0 and above not in lineage:
        lineage.add(above)
        stat = read_stat(above)
        above = stat.ppid if stat is not None else 0
    return pid in lineage
