"""Which machine and which commit a measurement is of: no names, no paths."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def description() -> dict[str, str]:
    cpu = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    memory = _memory("MemTotal") / 2**30
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "kernel": ".".join(platform.release().split(".")[:2]),
        "python": platform.python_version(),
    }


def available_bytes() -> int:
    """What can be taken without pushing anything out (proc(5), meminfo)."""
    return _memory("MemAvailable")


def commit() -> str:
    """The last commit of the program, with a plus sign if it was changed since."""
    here = Path(__file__).parent.parent
    short = _git(here, "log", "-1", "--format=%h", "--abbrev=10", "--", "spotguard")
    return short + ("+" if _git(here, "status", "--porcelain", "--", "spotguard") else "")


def _memory(name: str) -> int:
    return next(int(line.split()[1]) << 10 for line in _lines("/proc/meminfo") if line.startswith(f"{name}:"))


def _git(here: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=here, check=True, capture_output=True, text=True).stdout.strip()


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
