"""What an upload adds to the page cache and takes from it, by cachestat(2) (Linux 6.5), for a file that lies on a disk."""

from __future__ import annotations

import ctypes
import os
import tempfile
from pathlib import Path

from benchmarks import datasets
from benchmarks.endpoint import serving
from benchmarks.guarding import guarding
from benchmarks.transfer import Record, Workshop

_CACHESTAT = 451
"""The number of the call, on every architecture."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SIZE = 1 << 30
_WEIGHTS = "model.safetensors"


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Counts(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted"))


def cached_percent(path: Path) -> float:
    """How much of a file is in the page cache. Raises OSError where the kernel cannot tell."""
    told = _Counts()
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("rb") as file:
        everything = _Range(0, 0)
        if libc.syscall(_CACHESTAT, file.fileno(), ctypes.byref(everything), ctypes.byref(told), 0) != 0:
            raise OSError(ctypes.get_errno(), f"cachestat: {os.strerror(ctypes.get_errno())}")
    return min(100.0, 100 * int(told.cached) * _PAGE / max(1, path.stat().st_size))


def page_cache(shop: Workshop, record: Record) -> None:
    """A checkpoint that was written just now, and one that is not in memory any more; beside each, what stands for a trainer's data. On a
    disk: `BENCH_DISK` names a folder, else that of temporary files is taken."""
    for state in ("just written", "no longer in memory"):
        for _ in range(min(shop.rounds, 2)):
            with tempfile.TemporaryDirectory(prefix="spotguard-bench-", dir=os.environ.get("BENCH_DISK")) as folder:
                record(state, _upload(shop, Path(folder), forgotten=state != "just written"))


def _upload(shop: Workshop, disk: Path, *, forgotten: bool) -> dict[str, float]:
    staged, others = disk / "staged", disk / "others"
    datasets.large(staged, 100, _SIZE)
    datasets.write(others, _SIZE)
    for path in (staged / _WEIGHTS, others):
        _flush(path, forget=forgotten and path != others)
    with serving(shop.sink) as endpoint, guarding(endpoint, disk / "watched") as daemon:
        there = daemon.watched / "checkpoint-100"
        before = cached_percent(staged / _WEIGHTS), cached_percent(others)
        read = _read_bytes(daemon.pid)
        daemon.uploads(staged, there.name, back=False)
        read = _read_bytes(daemon.pid) - read
        after = cached_percent(there / _WEIGHTS), cached_percent(others)
    return {
        "file_before_percent": before[0],
        "file_after_percent": after[0],
        "others_before_percent": before[1],
        "others_after_percent": after[1],
        "read_mib": read / (1 << 20),
    }


def _flush(path: Path, *, forget: bool) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        if forget:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _read_bytes(pid: int) -> int:
    """What a process had read from disks (proc(5), io)."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))
