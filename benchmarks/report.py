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
    "idle": "Daemon, idle",
    "commit": "Last byte written → committed, a marker and 4 small files",
    "notice": "Notice answered by the metadata service → signal in the trainer",
    "unchanged": "A checkpoint of which 95 % of the bytes are files equal to the previous one's (against moto)",
    "share": "Two counting processes on two cores beside an upload capped at 1 Gbit/s",
    "growing": "A file of 4 GiB written at 500 MB/s, a link of 500 MB/s: last byte → committed, and reading it again",
    "files": "Files of 10 kB in one checkpoint",
    "checkpoints": "1,000 committed checkpoints in the bucket",
    "loose": "100,000 loose files under the root",
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
    "check_seconds": "reading it again, s",
    "percent": "% of its bytes sent",
    "copies": "copies in the store",
    "loss_percent": "steps per second lost, %",
    "megabits": "Mbit/s sent",
    "seconds_per_1000": "s per 1,000 files",
    "writes": "writes and listings",
    "gets_beside_data": "reads beside the data",
    "first_pass_seconds": "first pass, s",
    "idle_cpu_percent": "then CPU, % of a core",
    "idle_rss_mib": "then RSS MiB",
    "idle_requests_per_minute": "then requests a minute",
}


@contextmanager
def recording(group: str, *, add: bool) -> Iterator[Record]:
    """Takes runs; they are kept also when a later one fails."""
    at = machine.commit()
    before = _read()["groups"].get(group, {})
    runs: list[dict[str, Any]] = before.get("runs", []) if add and before.get("commit") == at else []

    def record(contender: str, figures: dict[str, float]) -> None:
        runs.append({"contender": contender, **{name: round(value, 4) for name, value in figures.items()}})
        print(
            f"{group:13} {contender:34}", "  ".join(f"{value:.2f} {NAMES.get(name, name)}" for name, value in figures.items()), flush=True
        )

    try:
        yield record
    finally:
        kept = _read()
        kept["machine"] = machine.description()
        kept["groups"][group] = {"commit": at, "date": time.strftime("%Y-%m-%d", time.gmtime()), "runs": runs}
        RESULTS.mkdir(exist_ok=True)
        RUNS.write_text(json.dumps(kept, indent=1) + "\n")


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
    lines = [f"{told['cpu']}, {told['cores']} cores, {told['memory']}, Linux {told['kernel']}, Python {told['python']}. Medians.", ""]
    for group, title in TITLES.items():
        if runs := kept["groups"].get(group, {}).get("runs"):
            lines += _group(title, kept["groups"][group]["commit"], runs)
    TABLE.write_text("\n".join(lines))


def _group(title: str, commit: str, runs: list[dict[str, Any]]) -> list[str]:
    rows = medians(runs)
    names = [name for name in next(iter(rows.values())) if not (name == "seconds" and "mb_per_second" in next(iter(rows.values())))]
    against = rows.get("s5cmd")
    counts = {contender: sum(run["contender"] == contender for run in runs) for contender in rows}
    ratios = ["× s5cmd", "CPU × s5cmd"] if against else []
    head = ["", *(NAMES.get(name, name) for name in names), *ratios]
    if "mb_per_second" in names:
        ordered = sorted(rows.items(), key=lambda row: (not row[0].startswith("spotguard"), -row[1]["mb_per_second"]))
    else:
        ordered = list(rows.items())
    lines = [f"**{title}** (runs each: {min(counts.values())}, commit {commit})", "", _row(head), _row(["---", *["--:"] * (len(head) - 1)])]
    for contender, figures in ordered:
        own = [_shown(figures.get(name)) for name in names]
        if against:
            own += [_shown(figures["mb_per_second"] / against["mb_per_second"]), _shown(figures["cpu_per_gb"] / against["cpu_per_gb"])]
        lines.append(_row([contender, *own]))
    return [*lines, ""]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"


def _read() -> dict[str, Any]:
    if not RUNS.exists():
        return {"machine": machine.description(), "groups": {}}
    kept: dict[str, Any] = json.loads(RUNS.read_text())
    return kept
