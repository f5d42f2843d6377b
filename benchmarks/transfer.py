"""Upload and restore, side by side: every round runs each contender once, in an order that changes from round to round."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import contenders, datasets, machine
from benchmarks.endpoint import BUCKET, HERE, Endpoint, Programs, serving
from benchmarks.guarding import RUN, SPOTGUARD, guarding
from benchmarks.measuring import Measurement, run

NAME = "checkpoint-100"
WITH_SETTINGS = {"spotguard, parts of 64 MiB": ("upload.part_size_mib=64",)}
"""What a user may set, beside what holds without."""
Record = Callable[[str, dict[str, float]], None]
"""Takes a contender's name and what one run of it came to."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a group works with. `scratch` is a fresh folder on the memory filesystem, thrown away after the group."""

    scratch: Path
    tools: Path
    """Where the programs of the other tools lie."""
    programs: Programs
    tls: tuple[Path, Path]
    rounds: int

    @property
    def sink(self) -> Path:
        return self.programs.sink

    def run(self, command: Sequence[str], size: int, endpoint: Endpoint, folder: Path | None = None) -> Measurement:
        """A client of the endpoint, from start to end (see `measuring.run`)."""
        return run(self.programs.spend, command, size, endpoint.environment(), folder)


@dataclass(frozen=True, slots=True)
class Load:
    """What is moved, and by whom; tools that would take minutes for it are left out."""

    make: Callable[[Path, int], None]
    contenders: tuple[str, ...]
    tls: bool = False
    most_rounds: int = 1000


def upload(shop: Workshop, record: Record, *, load: Load) -> None:
    """spotguard is its real daemon: from the rename that makes the checkpoint appear to its manifest in the bucket. The others are
    their commands, from start to end. Of each the endpoint must have got every byte."""
    staged = shop.scratch / "staged"
    load.make(staged, 100)
    size = datasets.total_bytes(staged)
    for number in range(min(shop.rounds, load.most_rounds)):
        for contender in _turned(load.contenders, number):
            with serving(shop.sink, tls=shop.tls if load.tls else None) as endpoint:
                measured, prefix = _upload(shop, contender, endpoint, staged, size)
                stored = endpoint.stored_bytes(f"{prefix}/")
                _insist(stored == size, f"{contender}: the endpoint has {stored} of {size} bytes")
            record(contender, measured.figures())


def _upload(shop: Workshop, contender: str, endpoint: Endpoint, staged: Path, size: int) -> tuple[Measurement, str]:
    """What it took, and where the objects are."""
    if contender.startswith("spotguard"):
        with guarding(endpoint, shop.scratch / "watched", *WITH_SETTINGS.get(contender, ())) as daemon:
            measured = daemon.uploads(staged, NAME)
        shutil.rmtree(shop.scratch / "watched")
        return measured, f"{RUN}/{NAME}"
    if contender == "sendfile":
        command = [sys.executable, "-m", "benchmarks.sendfile_limit", f"127.0.0.1:{endpoint.port}", str(staged)]
        return shop.run(command, size, endpoint, HERE.parent), "sendfile"
    return shop.run(contenders.upload(contender, shop.tools, endpoint, staged, "copy"), size, endpoint), "copy"


def restore(shop: Workshop, record: Record, *, load: Load) -> None:
    """spotguard is its real command, which verifies every byte against the manifest; the others check what they check. What each has
    brought is compared with what was sent, in the first round byte for byte."""
    with _committed(shop, load) as (endpoint, size):
        free = shutil.disk_usage(shop.scratch).free
        _insist(free > size * 1.2, f"there is no room for a second copy of {size >> 30} GiB beside the bucket: set BENCH_DIR")
        _insist(machine.available_bytes() > size * 1.3, f"{size >> 30} GiB more do not fit into memory")
        for number in range(min(shop.rounds, load.most_rounds)):
            for contender in _turned(load.contenders, number):
                into = shop.scratch / "restored"
                into.mkdir()
                endpoint.reset()
                if contender == "spotguard":
                    measured, brought = shop.run(_restore_command(endpoint, into), size, endpoint), into / NAME
                    seconds = float(json.loads(measured.said)["seconds"])
                    record(
                        "spotguard, its start not counted", Measurement(size, seconds, measured.cpu_seconds, measured.peak_mib).figures()
                    )
                else:
                    command = contenders.download(contender, shop.tools, endpoint, f"{RUN}/{NAME}", into)
                    measured, brought = shop.run(command, size, endpoint), into
                sent = endpoint.stats()["sent_bytes"]
                _insist(sent >= size, f"{contender} has read {sent} of {size} bytes")
                _insist(datasets.total_bytes(brought) == size, f"{contender}: what it brought is not whole")
                kept = shop.scratch / "bucket" / BUCKET / RUN / NAME
                _insist(number > 0 or same_content(kept, brought), f"{contender}: what it brought has other content")
                shutil.rmtree(into)
                record(contender, measured.figures())


def same_content(kept: Path, brought: Path) -> bool:
    names = sorted(path.relative_to(kept) for path in kept.rglob("*") if path.is_file())
    theirs = sorted(path.relative_to(brought) for path in brought.rglob("*") if path.is_file())
    return names == theirs and all(filecmp.cmp(kept / name, brought / name, shallow=False) for name in names)


@contextmanager
def _committed(shop: Workshop, load: Load) -> Iterator[tuple[Endpoint, int]]:
    """An endpoint that holds one committed checkpoint and keeps no second copy of it."""
    watched = shop.scratch / "watched"
    load.make(watched / NAME, 100)
    size = datasets.total_bytes(watched / NAME)
    with serving(shop.sink, keeps_in=shop.scratch / "bucket", tls=shop.tls if load.tls else None) as endpoint:
        values = [f"destination.endpoint_url={endpoint.url}", "http.listen=null", "imds.mode=off"]
        sets = [word for value in values for word in ("--set", value)]
        where = ["--dir", str(watched), "--url", f"s3://{BUCKET}/{RUN}"]
        shop.run([SPOTGUARD, "sync", *where, *sets], size, endpoint)
        shutil.rmtree(watched)
        yield endpoint, size


def _restore_command(endpoint: Endpoint, into: Path) -> list[str]:
    where = ["--url", f"s3://{BUCKET}/{RUN}", "--to", str(into)]
    values = [f"destination.endpoint_url={endpoint.url}", "imds.mode=off"]
    return [SPOTGUARD, "restore", "--json", *where, *(word for value in values for word in ("--set", value))]


def _turned(names: tuple[str, ...], by: int) -> tuple[str, ...]:
    at = by % len(names)
    return names[at:] + names[:at]


def _insist(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RuntimeError(otherwise)


def scratch_root() -> Path:
    """Memory where there is some, so that no disk is measured; `BENCH_DIR` names another place."""
    return Path(os.environ.get("BENCH_DIR") or ("/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"))
