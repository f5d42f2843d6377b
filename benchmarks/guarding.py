"""A real `spotguard daemon` beside a folder, as a user runs it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import datasets
from benchmarks.endpoint import BUCKET, Endpoint
from benchmarks.measuring import Measurement, cpu_seconds, forget_peak, peak_mib, stop

SPOTGUARD = str(Path(sys.executable).with_name("spotguard"))
RUN = "run"
_MANIFESTS = f"{RUN}/.spotguard/manifests/"
_POLL_SECONDS = 0.002
_REST_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Daemon:
    pid: int
    watched: Path
    endpoint: Endpoint
    said: list[str]
    """Its log lines, in JSON."""

    def commits(self, name: str, appear: Callable[[], None], *, seconds: float = 240.0) -> float:
        """Make a checkpoint appear; the seconds from the end of that until the daemon says that its manifest is in the bucket, which is
        looked up then: asking the endpoint all the time would take from what is measured."""
        heard = len(self.said)
        appear()
        began = time.monotonic()
        while not any("checkpoint.committed" in line and f'"{name}"' in line for line in self.said[heard:]):
            if time.monotonic() - began > seconds:
                raise RuntimeError(f"{name} was not committed; the daemon said: {self.said[-20:]}")
            time.sleep(_POLL_SECONDS)
        took = time.monotonic() - began
        if not self.is_committed(name):
            raise RuntimeError(f"the daemon says that {name} is committed, and there is no manifest")
        return took

    def is_committed(self, name: str) -> bool:
        return bool(self.endpoint.keys(f"{_MANIFESTS}{name}/"))

    def uploads(self, staged: Path, name: str, *, back: bool = True) -> Measurement:
        """Rename a finished checkpoint into the watched folder: what it takes until it is committed. Then it is renamed `back`."""
        size = datasets.total_bytes(staged)
        forget_peak(self.pid)
        cpu_before = cpu_seconds(self.pid)
        there = self.watched / name
        seconds = self.commits(name, lambda: _rename(staged, there))
        measured = Measurement(size, seconds, cpu_seconds(self.pid) - cpu_before, peak_mib(self.pid))
        if back:
            there.rename(staged)
        return measured


@contextmanager
def guarding(endpoint: Endpoint, watched: Path, *settings: str, warm: bool = True) -> Iterator[Daemon]:
    """A daemon that has started and, if `warm`, committed its first, small checkpoint and is at rest, as it is before nearly all
    checkpoints: connections are open and all modules loaded."""
    watched.mkdir(parents=True, exist_ok=True)
    where = ["--dir", str(watched), "--url", f"s3://{BUCKET}/{RUN}"]
    values = [f"destination.endpoint_url={endpoint.url}", "http.listen=null", "log.format=json", "imds.mode=off", *settings]
    command = [SPOTGUARD, "daemon", *where, *(word for value in values for word in ("--set", value))]
    said: list[str] = []
    process = subprocess.Popen(command, env=endpoint.environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    reader = threading.Thread(target=_read_lines, args=(process, said), daemon=True)
    reader.start()
    try:
        daemon = Daemon(process.pid, watched, endpoint, said)
        _await_line(process, said, "daemon.started")
        if warm:
            staged = watched.parent / f"{watched.name}.warm"
            datasets.large(staged, 1, 40 << 20)
            daemon.commits("checkpoint-1", lambda: _rename(staged, watched / "checkpoint-1"))
            time.sleep(_REST_SECONDS)
        yield daemon
    finally:
        stop(process)
        reader.join(5)


def _rename(staged: Path, there: Path) -> None:
    staged.rename(there)


def _read_lines(process: subprocess.Popen[bytes], said: list[str]) -> None:
    for line in process.stderr or ():
        said.append(line.decode(errors="replace"))


def _await_line(process: subprocess.Popen[bytes], said: list[str], event: str, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not any(event in line for line in said):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"the daemon did not say {event}: {said[-20:]}")
        time.sleep(0.02)
