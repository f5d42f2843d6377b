"""Keeps every run, and writes the table of medians."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.endpoint import HERE
from benchmarks.transfer import Record

RESULTS = HERE / "results"
RUNS = RESULTS / "runs.json"
TABLE = RESULTS / "table.md"
TITLES = {
    "upload": "Upload: 1 GiB + 4 × 200 MiB + 20 × 20 kB, http",
    "upload-tls": "Upload: the same, https",
    "upload-small": "Upload: 10,000 × 100 kB, http",
    "upload-8gib": "Upload: one file of 8 GiB, http",
    "restore": "Restore: 1 GiB + 4 × 200 MiB + 20 × 20 kB, http",
    "restore-tls": "Restore: the same, https",
    "restore-small": "Restore: 10,000 × 100 kB, http",
    "restore-8gib": "Restore: one file of 8 GiB, http",
    "idle": "Daemon, idle",
    "commit": "Last byte written → committed, a marker and 4 small files",
    "notice": "Notice answered by the metadata service → signal in the trainer",
    "unchanged": "A checkpoint of which 95 % of the bytes are files equal to the previous one's (against moto)",
    "share": "A trainer that keeps all cores busy, beside an upload capped at 1 Gbit/s",
    "page-cache": "The page cache, around the upload of a file of 1 GiB on a disk",
    "cap": "The bandwidth cap: 16 MiB and 20 kB bodies over 10 s, then lifted",
    "growing": "A file of 4 GiB written at 500 MB/s, a link of 500 MB/s: last byte → committed, and reading it again",
    "growing-disk": "A file of 1 GiB written at 100 MB/s, read from a disk of 100 MB/s, a link of 500 MB/s: last byte → committed",
    "files": "Files of 10 kB in one checkpoint",
    "checkpoints": "1,000 committed checkpoints in the bucket",
    "loose": "Loose files of 100 bytes under the root",
}
NAMES = {
    "mb_per_second": "MB/s",
    "cpu_per_gb": "CPU s per GB",
    "peak_mib": "peak MiB",
    "cpu_percent": "CPU, % of a core",
    "rss_mib": "RSS MiB",
    "per_minute": "requests a minute",
    "ms": "ms",
    "to_commit_seconds": "to the commit, s",
    "write_seconds": "written in, s",
    "check_seconds": "reading it again, s",
    "percent": "% of its bytes sent",
    "loss_percent": "steps per second lost, %",
    "processor_loss_percent": "processor time lost, %",
    "file_before_percent": "of the file, % cached before",
    "file_after_percent": "% cached after",
    "others_before_percent": "of other files of 1 GiB, % cached before",
    "others_after_percent": "% cached after it",
    "read_mib": "read from the disk, MiB",
    "percent_of_cap": "% of the cap",
    "tenths_deviation_percent": "deviation of tenths of a second, % of the cap",
    "lifted_ms": "lifted: twice the cap after, ms",
    "megabits": "Mbit/s sent",
    "endpoint_cpu_percent": "the endpoint's CPU, % of a core",
    "seconds_per_1000": "s per 1,000 files",
    "writes": "writes and listings",
    "manifest_requests": "requests to find the newest",
    "first_pass_seconds": "first pass, s",
    "longest_wait_ms": "longest wait for /healthz, ms",
    "longest_wait_changing_ms": "the same, while a file changes each second, ms",
    "scan_ms": "a full look, ms",
    "idle_cpu_percent": "then CPU, % of a core",
    "idle_rss_mib": "then RSS MiB",
    "idle_requests_per_minute": "then requests a minute",
}

_RATIOS = (("s5cmd", "mb_per_second", ""), ("s5cmd", "cpu_per_gb", "CPU "), ("sendfile", "mb_per_second", ""))
"""Beside whom, by which figure, and what the column is called."""


@contextmanager
def recording(group: str, *, add: bool) -> Iterator[Record]:
    """Takes runs. Each is on disk when it has been taken; the first one replaces what earlier measurements of the group said."""
    at = machine.commit()
    before = _read()["groups"].get(group, {})
    runs: list[dict[str, Any]] = before.get("runs", []) if add and before.get("commit") == at else []

    def record(contender: str, figures: dict[str, float]) -> None:
        runs.append({"contender": contender, **{name: round(value, 4) for name, value in figures.items()}})
        told = "  ".join(f"{value:.2f} {NAMES.get(name, name)}" for name, value in figures.items())
        print(f"{group:13} {contender:34} {told}", flush=True)
        _keep(group, {"commit": at, "date": time.strftime("%Y-%m-%d", time.gmtime()), "runs": runs})

    yield record


def _keep(group: str, told: dict[str, Any]) -> None:
    kept = _read()
    kept["machine"] = machine.description()
    kept["groups"][group] = told
    RESULTS.mkdir(exist_ok=True)
    beside = RUNS.with_suffix(".new")
    beside.write_text(json.dumps(kept, indent=1) + "\n")
    beside.replace(RUNS)


def medians(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Contender -> figure -> median; in the order of their first run."""
    contenders = dict.fromkeys(run["contender"] for run in runs)
    return {
        contender: {name: median(run[name] for run in of) for name in of[0] if name != "contender"}
        for contender in contenders
        if (of := [run for run in runs if run["contender"] == contender])
    }


def write_table() -> None:
    kept = _read()
    told = kept["machine"]
    machine_line = f"{told['cpu']}, {told['cores']} cores, {told['memory']}, Linux {told['kernel']}, Python {told['python']}."
    lines = [f"{machine_line} Medians; in brackets the least and the most.", ""]
    for group, title in TITLES.items():
        if runs := kept["groups"].get(group, {}).get("runs"):
            lines += table(title, kept["groups"][group]["commit"], runs)
    TABLE.write_text("\n".join(lines))


def table(title: str, commit: str, runs: list[dict[str, Any]]) -> list[str]:
    """The lines of one group: a row per contender; of transfers, how they compare with s5cmd's and with `sendfile`'s medians."""
    rows = medians(runs)
    first = next(iter(rows.values()))
    is_transfer = "mb_per_second" in first
    names = [name for name in first if not (name == "seconds" and is_transfer)]
    ratios = ratios_of(rows)
    head = ["", *(NAMES.get(name, name) for name in names), *next(iter(ratios.values()), ())]
    ordered = list(rows)
    if is_transfer:
        ordered.sort(key=lambda contender: (not contender.startswith("spotguard"), -rows[contender]["mb_per_second"]))
    each = min(sum(run["contender"] == contender for run in runs) for contender in rows)
    lines = [f"**{title}** (runs each: {each}, commit {commit})", "", _row(head), _row(["---", *["--:"] * (len(head) - 1)])]
    for contender in ordered:
        own = [_spread([run[name] for run in runs if run["contender"] == contender and name in run]) for name in names]
        lines.append(_row([contender, *own, *(_shown(value) for value in ratios.get(contender, {}).values())]))
    return [*lines, ""]


def ratios_of(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Contender -> what its medians are beside s5cmd's and `sendfile`'s, where those were measured."""
    against = [(name, figure, f"{what}× {name}") for name, figure, what in _RATIOS if name in rows and figure in rows[name]]
    if not against:
        return {}
    return {
        contender: {title: figures[figure] / rows[name][figure] for name, figure, title in against} for contender, figures in rows.items()
    }


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    least, middle, most = _shown(min(values)), _shown(median(values)), _shown(max(values))
    return middle if least == most else f"{middle} ({least}–{most})"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"


def _read() -> dict[str, Any]:
    if not RUNS.exists():
        return {"machine": machine.description(), "groups": {}}
    kept: dict[str, Any] = json.loads(RUNS.read_text())
    return kept
