"""Seconds, CPU seconds and resident memory of processes, as the kernel counts them."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_LIMIT_SECONDS = 240.0
_CPUCLOCK_SCHED = 2
"""Which of a process's clocks, in the lowest bits of the clock's number (linux/posix-timers.h)."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run. Rates are per 10^9 and 10^6 bytes (GB, MB); memory is MiB."""

    size: int
    seconds: float
    cpu_seconds: float
    peak_mib: float
    said: bytes = b""
    """On standard output."""

    def figures(self) -> dict[str, float]:
        return {
            "mb_per_second": self.size / self.seconds / 1e6,
            "cpu_per_gb": self.cpu_seconds / self.size * 1e9,
            "peak_mib": self.peak_mib,
            "seconds": self.seconds,
        }


def run(spend: Path, command: Sequence[str], size: int, environment: Mapping[str, str], folder: Path | None = None) -> Measurement:
    """Run a command that moves `size` bytes to its end: the CPU and the peak memory of the process and of all that it waited for (wait4).

    `spend` is the program that runs and measures it (spend.c). Raises RuntimeError when the command fails or takes too long."""
    with tempfile.TemporaryDirectory() as told, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        costs = Path(told) / "costs"
        whole = [str(spend), str(costs), *command]
        process = subprocess.Popen(whole, env=dict(environment), cwd=folder, stdout=out, stderr=err, process_group=0)
        clock = threading.Timer(_LIMIT_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        clock.start()
        status = process.wait()
        clock.cancel()
        out.seek(0)
        err.seek(0)
        if status != 0:
            raise RuntimeError(f"{command[0]} ended with {status}: {err.read()[-2000:].decode(errors='replace')}")
        wall, user, system, peak_kib = map(float, costs.read_text().split())
        return Measurement(size, wall, user + system, peak_kib / 1024, out.read())


def cpu_seconds(pid: int) -> float:
    """User and system time of a living process and the children it has waited for, to the kernel's tick (10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def cpu_seconds_fine(pid: int) -> float:
    """User and system time of a living process and of all threads that it has or had, to the nanosecond; without its children.

    From the process's own CPU clock (clock_getcpuclockid(3)): adding up its living threads would forget those that have ended."""
    return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)


def forget_peak(pid: int) -> None:
    """Start the peak anew (proc(5), clear_refs 5)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mib(pid: int) -> float:
    return _status(pid, "VmHWM")


def resident_mib(pid: int) -> float:
    return _status(pid, "VmRSS")


def stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM, seconds: float = 20.0) -> None:
    process.send_signal(number)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _status(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/status has no {field}")
