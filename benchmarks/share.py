"""What a trainer loses beside an upload: steps per second of loops that keep every core busy, with and without one, in turns."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

from benchmarks import datasets
from benchmarks.endpoint import Endpoint, serving
from benchmarks.guarding import guarding
from benchmarks.measuring import cpu_seconds_fine, stop
from benchmarks.transfer import Record, Workshop

_MEGABITS = 1000
_WINDOW_SECONDS = 0.5
_SETTLE_SECONDS = 0.25
"""After the daemon was stopped or goes on: until what the kernel still had to send is gone, or the upload is back at its cap."""
_WINDOWS = 5
"""Of each kind in a run."""
_SIZE = int(_MEGABITS * 1e6 / 8 * (_WINDOW_SECONDS + _SETTLE_SECONDS))

_LOOP = """
import mmap, os, struct, sys
with open(sys.argv[1], "r+b") as file:
    steps = mmap.mmap(file.fileno(), 0)
at, count = 8 * int(sys.argv[2]), 0
{prepare}
while True:
    {step}
    count += 1
    struct.pack_into("<q", steps, at, count)
"""


@dataclass(frozen=True, slots=True)
class Training:
    """Processes that do nothing but steps."""

    name: str
    processes: int
    threads: int
    prepare: str
    step: str


_CORES = os.cpu_count() or 2
TRAININGS = (
    Training(f"{_CORES} processes of plain Python", _CORES, 1, "", "sum(range(20000))"),
    Training(
        f"a matrix product on {_CORES} threads",
        1,
        _CORES,
        "import numpy; a = numpy.random.default_rng(1).random((512, 512), dtype=numpy.float32)",
        "a @ a",
    ),
)


@dataclass(frozen=True, slots=True)
class Pace:
    """Of a training."""

    steps: float
    """Per second."""
    cpu: float
    """Seconds of processor time per second."""


class Steps:
    """What the processes of a training have done so far."""

    def __init__(self, path: Path, processes: int) -> None:
        self.pids: list[int] = []
        path.write_bytes(bytes(8 * processes))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 0)
        self._form = f"<{processes}q"

    def count(self) -> int:
        return sum(struct.unpack_from(self._form, self._shared))

    def pace(self, seconds: float) -> Pace:
        """From now on, for so long."""
        began, before, spent = time.monotonic(), self.count(), self._cpu_seconds()
        time.sleep(seconds)
        took = time.monotonic() - began
        return Pace((self.count() - before) / took, (self._cpu_seconds() - spent) / took)

    def _cpu_seconds(self) -> float:
        return sum(cpu_seconds_fine(pid) for pid in self.pids)


def share(shop: Workshop, record: Record) -> None:
    """An upload under a cap of 1 Gbit/s, stopped and let go on in turns (SIGSTOP): half a second with it, half a second without. A run is
    the median of some such pairs, each beside the one before and the one after it, so that what else the machine does weighs little.

    Then the same beside a process that sleeps, and beside `sendfile` on one connection that the kernel paces, the least that sending so
    much to an endpoint on this machine can take."""
    for training in TRAININGS:
        staged = shop.scratch / "staged"
        pairs = shop.rounds * _WINDOWS
        datasets.large(staged, 100, int(_SIZE * (pairs + 5) * 1.3))
        with (
            serving(shop.sink) as endpoint,
            guarding(endpoint, shop.scratch / "watched", f"upload.max_megabits_per_second={_MEGABITS}") as daemon,
            training_loops(shop, training) as steps,
        ):
            there = daemon.watched / "checkpoint-100"
            staged.rename(there)
            windows = _windows(daemon.pid, endpoint, steps, pairs + 1)
            if daemon.is_committed("checkpoint-100"):
                raise RuntimeError("the upload ended too early: it did not keep to the cap")
            there.rename(staged)
        _record(record, training.name, windows)
        with serving(shop.sink) as endpoint, training_loops(shop, training) as steps, doing_nothing() as process:
            windows = _windows(process.pid, endpoint, steps, pairs + 1)
        _record(record, f"{training.name}, beside nothing", windows)
        with serving(shop.sink) as endpoint, training_loops(shop, training) as steps, sending_paced(endpoint, staged) as process:
            windows = _windows(process.pid, endpoint, steps, pairs + 1)
            if process.poll() is not None:
                raise RuntimeError("sendfile ended too early: the kernel did not pace it")
        _record(record, f"{training.name}, beside `sendfile` at that rate", windows)
        shutil.rmtree(staged)
        shutil.rmtree(shop.scratch / "watched")


def _record(record: Record, name: str, windows: list[Pair]) -> None:
    for first in range(0, len(windows) - _WINDOWS, _WINDOWS):
        record(name, figures(windows[first : first + _WINDOWS + 1]))


@dataclass(frozen=True, slots=True)
class Pair:
    """Half a second without the upload, then half a second with it."""

    alone: Pace
    beside: Pace
    cpu: float
    """Of the daemon, seconds per second beside."""
    endpoint_cpu: float
    sent: float
    """Bytes per second since the daemon went on; more than the cap, because a body may begin at once then."""


def _windows(pid: int, endpoint: Endpoint, steps: Steps, count: int) -> list[Pair]:
    time.sleep(2.0)
    return [_pair(pid, endpoint, steps) for _ in range(count)]


def _pair(pid: int, endpoint: Endpoint, steps: Steps) -> Pair:
    before = endpoint.stats()["body_bytes"]
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(_SETTLE_SECONDS)
        alone = steps.pace(_WINDOW_SECONDS)
        busy, sunk = cpu_seconds_fine(pid), cpu_seconds_fine(endpoint.pid)
    finally:
        os.kill(pid, signal.SIGCONT)
    began = time.monotonic()
    time.sleep(_SETTLE_SECONDS)
    beside = steps.pace(_WINDOW_SECONDS)
    seconds = time.monotonic() - began
    busy, sunk, sent = cpu_seconds_fine(pid) - busy, cpu_seconds_fine(endpoint.pid) - sunk, endpoint.stats()["body_bytes"] - before
    return Pair(alone, beside, busy / seconds, sunk / seconds, sent / seconds)


def doing_nothing() -> AbstractContextManager[subprocess.Popen[bytes]]:
    """What this way of measuring finds where there is nothing to find."""
    return _running(["sleep", "infinity"])


def sending_paced(endpoint: Endpoint, folder: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """`sendfile` of these files at the rate of the cap."""
    rate = str(int(_MEGABITS * 1e6 / 8))
    return _running([sys.executable, "-m", "benchmarks.sendfile_limit", f"127.0.0.1:{endpoint.port}", str(folder), rate])


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent)
    try:
        yield process
    finally:
        stop(process, signal.SIGKILL)


def figures(windows: list[Pair]) -> dict[str, float]:
    losses = [1 - pair.beside.steps * 2 / (pair.alone.steps + following.alone.steps) for pair, following in pairwise(windows)]
    processor = [1 - pair.beside.cpu * 2 / (pair.alone.cpu + following.alone.cpu) for pair, following in pairwise(windows)]
    return {
        "loss_percent": 100 * median(losses),
        "processor_loss_percent": 100 * median(processor),
        "cpu_percent": 100 * mean(pair.cpu for pair in windows),
        "endpoint_cpu_percent": 100 * mean(pair.endpoint_cpu for pair in windows),
        "megabits": mean(pair.sent for pair in windows) * 8 / 1e6,
    }


@contextmanager
def training_loops(shop: Workshop, training: Training) -> Iterator[Steps]:
    """Processes that keep all cores busy, from their first step on."""
    shared = shop.scratch / "steps"
    steps = Steps(shared, training.processes)
    program = _LOOP.format(prepare=training.prepare, step=training.step)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(training.threads), "OMP_NUM_THREADS": str(training.threads)}
    command = [str(shop.tools / "python"), "-c", program, str(shared)]
    loops = [subprocess.Popen([*command, str(number)], env=environment) for number in range(training.processes)]
    steps.pids = [loop.pid for loop in loops]
    try:
        while not steps.count() > 100:
            if any(loop.poll() is not None for loop in loops):
                raise RuntimeError("a training loop has ended")
            time.sleep(0.05)
        yield steps
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
