"""`python -m benchmarks [--only GROUP[,GROUP]] [--rounds N] [--add]`: measure, keep every run in results/, write the table and the plot."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import cap, datasets, growing, living, page_cache, report, scale, share, transfer
from benchmarks.contenders import TOOLS
from benchmarks.endpoint import HERE, build, make_certificate
from benchmarks.transfer import Load, Record, Workshop

ALL = ("spotguard", *TOOLS)
OVER_TLS = ("spotguard", "s5cmd", "rclone", "aws-cli")
QUICK = ("spotguard", "s5cmd", "rclone")
GROUPS: dict[str, Callable[[Workshop, Record], None]] = {
    "upload": partial(transfer.upload, load=Load(datasets.mixed, (*ALL, *transfer.WITH_SETTINGS, "sendfile"))),
    "upload-tls": partial(transfer.upload, load=Load(datasets.mixed, OVER_TLS, tls=True)),
    "upload-small": partial(transfer.upload, load=Load(datasets.many, QUICK)),
    "upload-8gib": partial(
        transfer.upload, load=Load(datasets.large, ("spotguard", *transfer.WITH_SETTINGS, "s5cmd", "sendfile"), most_rounds=3)
    ),
    "restore": partial(transfer.restore, load=Load(datasets.mixed, ALL)),
    "restore-tls": partial(transfer.restore, load=Load(datasets.mixed, OVER_TLS, tls=True)),
    "restore-small": partial(transfer.restore, load=Load(datasets.many, QUICK)),
    "restore-8gib": partial(transfer.restore, load=Load(datasets.large, ("spotguard", "s5cmd"), most_rounds=3)),
    "idle": living.idle,
    "commit": living.commit,
    "notice": living.notice,
    "unchanged": living.unchanged,
    "share": share.share,
    "page-cache": page_cache.page_cache,
    "cap": cap.cap,
    "growing": growing.growing,
    "growing-disk": growing.growing_disk,
    "files": scale.files,
    "checkpoints": scale.checkpoints,
    "loose": scale.loose,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", help=f"of {', '.join(GROUPS)}; a name stands for those that begin with it, too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--add", action="store_true", help="add these runs to those that are there")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the table and the plot anew")
    options = parser.parse_args()
    tools = HERE.parent / ".bench-env" / "bin"
    failed = [name for name in ([] if options.report else _chosen(options.only)) if not _measure(name, tools, options)]
    report.write_table()
    subprocess.run([tools / "python", HERE / "plot.py"], check=True)
    if failed:
        sys.exit(f"not measured to the end: {', '.join(failed)}")


def _measure(name: str, tools: Path, options: argparse.Namespace) -> bool:
    """Whether the group ran to its end; what it measured before is kept in any case."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="spotguard-bench-", dir=transfer.scratch_root()) as folder:
        scratch = Path(folder)
        shop = Workshop(scratch, tools, build(scratch), make_certificate(scratch), options.rounds)
        try:
            with report.recording(name, add=options.add) as record:
                GROUPS[name](shop, record)
        except Exception:  # noqa: BLE001 - whatever one group met, the others can be measured
            traceback.print_exc()
            return False
        print(f"{name:13} took {time.monotonic() - began:.0f} s", flush=True)
        return True


def _chosen(only: str) -> list[str]:
    wanted = [word for word in only.split(",") if word]
    exact = [name for name in GROUPS if name in wanted]
    chosen = exact or [name for name in GROUPS if not wanted or any(name.startswith(f"{word}-") for word in wanted)]
    if not chosen:
        sys.exit(f"there is no benchmark {only}; there are {', '.join(GROUPS)}")
    return chosen


if __name__ == "__main__":
    main()
