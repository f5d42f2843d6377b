"""Upload and restore, side by side: every round runs each contender once, in an order that changes from round to round."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import contenders, datasets
from benchmarks.endpoint import BUCKET, HERE, Endpoint, serving
from benchmarks.guarding import RUN, SPOTGUARD, guarding
from benchmarks.measuring import Measurement, run

NAME = "checkpoint-100"
Record = Callable[[str, dict[str, float]], None]
"""Takes a contender's name and what one run of it came to."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a group works with. `scratch` is a fresh folder on the memory filesystem, thrown away after the group."""

    scratch: Path
    tools: Path
    """Where the programs of the other tools lie."""
    sink: Path
    tls: tuple[Path, Path]
    rounds: int


@dataclass(frozen=True, slots=True)
class Load:
    """What is moved, and by whom; tools that would take minutes for it are left out by name."""

    make: Callable[[Path, int], None]
    tools: tuple[str, ...]
    tls: bool = False


def upload(shop: Workshop, *, load: Load, record: Record) -> None:
    """spotguard is its real daemon: from the rename that makes the checkpoint appear to its manifest in the bucket. The others are
    their commands, from start to end."""
    staged = shop.scratch / "staged"
    load.make(staged, 100)
    size = datasets.total_bytes(staged)
    for number in range(shop.rounds):
        for contender in _turned(("spotguard", *load.tools, *(() if load.tls else ("sendfile",))), number):
            with serving(shop.sink, tls=shop.tls if load.tls else None) as endpoint:
                if contender == "spotguard":
                    with guarding(endpoint, shop.scratch / "watched") as daemon:
                        measured = daemon.uploads(staged, NAME)
                    shutil.rmtree(shop.scratch / "watched")
                elif contender == "sendfile":
                    command = [sys.executable, "-m", "benchmarks.sendfile_limit", f"127.0.0.1:{endpoint.port}", staged]
                    measured = run(command, size, endpoint.environment(), HERE.parent)
                else:
                    command = contenders.upload(contender, shop.tools, endpoint, staged, "copy")
                    measured = run(command, size, endpoint.environment())
                    _insist(endpoint.stats()["body_bytes"] >= size, f"{contender} sent less than there is")
            record(contender, measured.figures())


def restore(shop: Workshop, *, load: Load, record: Record) -> None:
    """spotguard is its real command, which verifies every byte against the manifest; the others check what they check."""
    with _committed(shop, load) as (endpoint, size):
        for number in range(shop.rounds):
            for contender in _turned(("spotguard", *load.tools), number):
                into = shop.scratch / "restored"
                into.mkdir()
                if contender == "spotguard":
                    measured = run(_restore_command(endpoint, into), size, endpoint.environment())
                    _insist(datasets.total_bytes(into) == size, "the restore is not whole")
                    seconds = float(json.loads(measured.said)["seconds"])
                    record(
                        "spotguard, its start not counted", Measurement(size, seconds, measured.cpu_seconds, measured.peak_mib).figures()
                    )
                else:
                    command = contenders.download(contender, shop.tools, endpoint, f"{RUN}/{NAME}", into)
                    measured = run(command, size, endpoint.environment())
                    _insist(datasets.total_bytes(into) >= size, f"{contender} brought less than there is")
                shutil.rmtree(into)
                record(contender, measured.figures())


@contextmanager
def _committed(shop: Workshop, load: Load) -> Iterator[tuple[Endpoint, int]]:
    """An endpoint that holds one committed checkpoint and keeps no second copy of it."""
    watched = shop.scratch / "watched"
    load.make(watched / NAME, 100)
    size = datasets.total_bytes(watched / NAME)
    with serving(shop.sink, keeps_in=shop.scratch / "bucket", tls=shop.tls if load.tls else None) as endpoint:
        values = [f"destination.endpoint_url={endpoint.url}", "http.listen=null", "imds.mode=off"]
        where = ["--dir", watched, "--url", f"s3://{BUCKET}/{RUN}"]
        run([SPOTGUARD, "sync", *where, *(word for value in values for word in ("--set", value))], size, endpoint.environment())
        shutil.rmtree(watched)
        yield endpoint, size


def _restore_command(endpoint: Endpoint, into: Path) -> list[str | Path]:
    where = ["--url", f"s3://{BUCKET}/{RUN}", "--to", into]
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
