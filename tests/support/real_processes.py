"""Real processes for tests: started, waited for by a line that they print, and gone when the test is over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TRAINER = """\
import os, signal, sys

def save(number, frame):
    with open(sys.argv[1], "a") as file:
        file.write(f"{os.getpid()} {signal.Signals(number).name}\\n")

signal.signal(signal.SIGUSR1, save)
print("ready", flush=True)
while True:
    signal.pause()
"""
"""Notes every SIGUSR1 in the file that is its first argument; any other signal ends it."""
RANK = TRAINER.replace('print("ready", flush=True)', r'os.write(1, b"%d\n" % os.getpid())')
"""The same, telling its process id in one call: several write into one pipe."""


class RealProcesses:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[subprocess.Popen[str]] = []
        self._at_end: list[Callable[[], None]] = []

    def on_end(self, work: Callable[[], None]) -> None:
        self._at_end.append(work)

    def script(self, name: str, source: str) -> Path:
        path = self.folder / name
        path.write_text(source)
        return path

    def start(self, *command: str | Path, lines: int = 1, **options: object) -> tuple[subprocess.Popen[str], list[str]]:
        """Start a command and wait for this many lines of its output. It has a group of its own, which goes with it."""
        process = subprocess.Popen(  # type: ignore[call-overload]
            [str(word) for word in command], stdout=subprocess.PIPE, text=True, start_new_session=True, **options
        )
        self._running.append(process)
        return process, [process.stdout.readline().strip() for _ in range(lines)]

    def python(self, *arguments: str | Path, lines: int = 1, **options: object) -> tuple[subprocess.Popen[str], list[str]]:
        return self.start(sys.executable, *arguments, lines=lines, **options)

    def end(self) -> None:
        for process in self._running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        self._running.clear()
        for work in self._at_end:
            work()


@contextmanager
def real_processes(folder: Path) -> Iterator[RealProcesses]:
    started = RealProcesses(folder)
    try:
        yield started
    finally:
        started.end()
