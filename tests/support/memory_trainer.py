"""Fakes of what surrounds the trainer: its processes, the announcements, the journal of signals, the service manager.

All of them work under virtual time: what they record carries the event loop's time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from spotguard.ports.trainer import CannotSignal, TrainerGone, TrainerProcess
from spotguard.ports.writer_watch import WrittenFile


class Sent(NamedTuple):
    """One signal that reached a process."""

    process: TrainerProcess
    signal_name: str
    at: float
    """Loop time."""


OnSignal = Callable[[TrainerProcess, str], Coroutine[Any, Any, None] | None]


class MemoryTrainer:
    """Processes that live and die as the test says.

    `on_signal` is what a process does on a signal: a plain function, or a coroutine function that runs as a task of its own and
    may sleep, save a checkpoint, and end with `trainer.exit(process)`."""

    def __init__(self, *, configured: bool = True, on_signal: OnSignal | None = None) -> None:
        self.configured = configured
        self.on_signal = on_signal
        self.sent: list[Sent] = []
        self.find_error: Exception | None = None
        self._running: dict[int, TrainerProcess] = {}
        self._refusing: set[int] = set()
        self._reactions: set[asyncio.Task[None]] = set()
        self._next_pid = 100

    def start(self, command: str = "python train.py", *, pid: int | None = None, started: float | None = None) -> TrainerProcess:
        """A new process. With the pid of a running one it takes that one's place (pid reuse)."""
        self._next_pid += 1
        number = self._next_pid if pid is None else pid
        process = TrainerProcess(number, float(self._next_pid) if started is None else started, command)
        self._running[number] = process
        return process

    def exit(self, process: TrainerProcess) -> None:
        """The process ends; nothing happens if it has already."""
        if self._running.get(process.pid) == process:
            del self._running[process.pid]

    def refuse(self, process: TrainerProcess) -> None:
        """From now on the process is not ours to signal."""
        self._refusing.add(process.pid)

    @property
    def signals(self) -> list[tuple[int, str]]:
        return [(sent.process.pid, sent.signal_name) for sent in self.sent]

    async def settled(self) -> None:
        """Wait until every reaction to a signal has ended; raises what one of them raised."""
        while self._reactions:
            await asyncio.gather(*self._reactions)

    async def find(self) -> Sequence[TrainerProcess]:
        if self.find_error is not None:
            raise self.find_error
        return tuple(self._running.values()) if self.configured else ()

    async def alive(self, process: TrainerProcess) -> bool:
        return self._runs(process)

    async def signal(self, process: TrainerProcess, signal_name: str) -> None:
        if not self._runs(process):
            raise TrainerGone(f"process {process.pid} has ended")
        if process.pid in self._refusing:
            raise CannotSignal(f"process {process.pid} belongs to somebody else", "run spotguard as the trainer's user")
        self.sent.append(Sent(process, signal_name, asyncio.get_running_loop().time()))
        if self.on_signal is None:
            return
        reaction = self.on_signal(process, signal_name)
        if reaction is not None:
            task = asyncio.get_running_loop().create_task(reaction)
            self._reactions.add(task)
            task.add_done_callback(self._reactions.discard)

    def _runs(self, process: TrainerProcess) -> bool:
        running = self._running.get(process.pid)
        return running is not None and running.started == process.started


class HookRun(NamedTuple):
    event: str
    payload: Mapping[str, Any]
    at: float
    """Loop time of its start."""


class MemoryAnnouncements:
    """Remembers what was announced. `hook_seconds` is how long each hook takes."""

    def __init__(self, *, hook_seconds: float = 0.0) -> None:
        self.hook_seconds = hook_seconds
        self.notice: Mapping[str, Any] | None = None
        """What the notice file holds now."""
        self.notices: list[Mapping[str, Any]] = []
        """All that it ever held."""
        self.hooks: list[HookRun] = []
        self.finished: list[str] = []
        """Events of the hooks that came to their end."""

    @property
    def events(self) -> list[str]:
        return [run.event for run in self.hooks]

    async def publish_notice(self, notice: Mapping[str, Any]) -> None:
        self.notice = dict(notice)
        self.notices.append(self.notice)

    async def withdraw_notice(self) -> None:
        self.notice = None

    async def run_hook(self, event: str, payload: Mapping[str, Any]) -> None:
        self.hooks.append(HookRun(event, dict(payload), asyncio.get_running_loop().time()))
        await asyncio.sleep(self.hook_seconds)
        self.finished.append(event)


class MemoryJournal:
    """Give the same one to two daemons to have the second be a restart of the first."""

    def __init__(self, entries: Collection[str] = ()) -> None:
        self.entries = set(entries)

    async def read(self) -> frozenset[str]:
        return frozenset(self.entries)

    async def add(self, entry: str) -> None:
        self.entries.add(entry)


@dataclass
class MemoryWriterWatch:
    """Who writes where is what the test says: absolute path -> processes; `ended` holds how each one ended (True: badly)."""

    open_for_writing: dict[str, set[TrainerProcess]]
    open_at_all: dict[str, set[TrainerProcess]]
    ended: dict[TrainerProcess, bool]
    outside: set[WrittenFile]
    """Open for writing outside the watch root."""

    def __init__(self) -> None:
        self.open_for_writing = {}
        self.open_at_all = {}
        self.ended = {}
        self.outside = set()

    async def writers(self, folders: Collection[str]) -> frozenset[TrainerProcess]:
        return _under(folders, self.open_for_writing)

    async def users(self, folders: Collection[str]) -> frozenset[TrainerProcess]:
        return _under(folders, self.open_for_writing) | _under(folders, self.open_at_all)

    async def written_outside(self, processes: Collection[TrainerProcess], looks: Callable[[str], bool]) -> frozenset[WrittenFile]:
        pids = {process.pid for process in processes}
        return frozenset(file for file in self.outside if file.pid in pids and looks(file.path))

    async def exited_badly(self, process: TrainerProcess) -> bool | None:
        return self.ended.get(process)

    async def died(self, process: TrainerProcess) -> bool:
        return self.ended.get(process) is True


def _under(folders: Collection[str], holders: Mapping[str, set[TrainerProcess]]) -> frozenset[TrainerProcess]:
    return frozenset(
        process
        for path, processes in holders.items()
        if any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)
        for process in processes
    )


class MemoryServiceManager:
    def __init__(self, *, watchdog_seconds: float | None = None) -> None:
        self.watchdog_seconds = watchdog_seconds
        self.said: list[str] = []

    def ready(self) -> None:
        self.said.append("ready")

    def status(self, text: str) -> None:
        self.said.append(f"status {text}")

    def stopping(self) -> None:
        self.said.append("stopping")

    def extend_timeout(self, seconds: float) -> None:
        self.said.append(f"extend {seconds:g}")

    def watchdog(self) -> None:
        self.said.append("watchdog")
