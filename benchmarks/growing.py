"""What it gains to send a file while it is being written: a checkpoint of one large file, from its last byte to its commit.

The same file is written in two ways: within the watched folder, where it is sent as it grows, and beside it, from where it is renamed into
the folder once it is written, so that all of it has to be sent then.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import datasets
from benchmarks.endpoint import HERE, serving
from benchmarks.guarding import Daemon, guarding
from benchmarks.measuring import cpu_seconds, forget_peak, peak_mib
from benchmarks.transfer import Record, Workshop
from spotguard.adapters.disk.holding import checksum_of

_FILE = "model.safetensors"
_LINK = "upload.max_megabits_per_second=4000"
_CGROUPS = Path("/sys/fs/cgroup/blkio")
_SLOW_DISK = 100_000_000
_MOST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Save:
    """`size` bytes written at `rate` bytes per second; `evicted`: nothing of it is in the page cache any more when it is finished."""

    size: int
    rate: float
    evicted: bool = False


def growing(shop: Workshop, record: Record) -> None:
    """4 GiB at 500 MB/s, in memory, to a link of 500 MB/s. Beside it: how long it takes to read the file once more."""
    save = Save(4 << 30, 500e6)
    for _ in range(min(shop.rounds, _MOST_ROUNDS)):
        for contender in ("sent while written", "sent when whole"):
            with serving(shop.sink) as endpoint, guarding(endpoint, shop.scratch / "watched", _LINK) as daemon:
                measured = _saved(daemon, save, shop.scratch / "staged", ahead=contender == "sent while written")
                began = time.monotonic()
                with (daemon.watched / "checkpoint-100" / _FILE).open("rb") as file:
                    checksum_of(file.fileno())
                record(contender, {**measured, "check_seconds": time.monotonic() - began})
            shutil.rmtree(shop.scratch / "watched")


def growing_disk(shop: Workshop, record: Record) -> None:
    """1 GiB at 100 MB/s, on a disk that the daemon can read at 100 MB/s (cgroup v1's blkio controller), to a link of 500 MB/s; read again
    from the page cache, and from the disk."""
    if not os.access(_CGROUPS / "cgroup.procs", os.W_OK):
        raise RuntimeError("a slow disk needs cgroup v1 with the blkio controller, and root")
    for _ in range(min(shop.rounds, _MOST_ROUNDS)):
        for evicted in (False, True):
            for contender in ("sent while written", "sent when whole"):
                with tempfile.TemporaryDirectory(prefix=".growing-", dir=HERE.parent) as folder:
                    scratch = Path(folder)
                    with serving(shop.sink) as endpoint, guarding(endpoint, scratch / "watched", _LINK) as daemon, _reading_slowly(daemon):
                        save = Save(1 << 30, _SLOW_DISK, evicted)
                        measured = _saved(daemon, save, scratch / "staged", ahead=contender == "sent while written")
                record(f"{contender}{', evicted' if evicted else ''}", measured)


def _saved(daemon: Daemon, save: Save, staged: Path, *, ahead: bool) -> dict[str, float]:
    folder = daemon.watched / "checkpoint-100"
    datasets.tiny(staged, 100)
    (staged / datasets.MARKER).unlink()
    (staged / _FILE).unlink(missing_ok=True)
    if ahead:
        staged.rename(folder)
    forget_peak(daemon.pid)
    cpu, began = cpu_seconds(daemon.pid), time.monotonic()
    _write_slowly((folder if ahead else staged) / _FILE, save)
    written = time.monotonic() - began
    if not ahead:
        staged.rename(folder)
    seconds = daemon.commits("checkpoint-100", partial(datasets.mark, folder, 100))
    cpu_per_gb = (cpu_seconds(daemon.pid) - cpu) / save.size * 1e9
    return {"to_commit_seconds": seconds, "write_seconds": written, "cpu_per_gb": cpu_per_gb, "peak_mib": peak_mib(daemon.pid)}


def _write_slowly(path: Path, save: Save) -> None:
    began, written = time.monotonic(), 0
    with path.open("wb") as file:
        for block in datasets.safetensors(save.size):
            file.write(block)
            written += len(block)
            time.sleep(max(0.0, began + written / save.rate - time.monotonic()))
        if save.evicted:
            file.flush()
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def _reading_slowly(daemon: Daemon) -> Iterator[None]:
    """The daemon reads no faster than a slow disk: in a cgroup of its own, which is gone afterwards."""
    group = _CGROUPS / f"spotguard-bench-{daemon.pid}"
    group.mkdir()
    device = os.stat(daemon.watched).st_dev
    (group / "blkio.throttle.read_bps_device").write_text(f"{os.major(device)}:{os.minor(device)} {_SLOW_DISK}")
    (group / "cgroup.procs").write_text(str(daemon.pid))
    try:
        yield
    finally:
        (_CGROUPS / "cgroup.procs").write_text(str(daemon.pid))
        group.rmdir()
