"""Draws results/runs.json; runs in the environment of the other tools, which has matplotlib."""

import json
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"
GROUPS = {"upload": "Upload, http", "upload-tls": "Upload, https", "restore": "Restore, http", "restore-tls": "Restore, https"}
FIGURES = {"mb_per_second": "MB/s", "cpu_per_gb": "CPU seconds per GB", "peak_mib": "peak memory, MiB"}


def main() -> None:
    plt.rcParams["svg.hashsalt"] = "spotguard"
    kept = json.loads((RESULTS / "runs.json").read_text())["groups"]
    groups = {name: title for name, title in GROUPS.items() if name in kept}
    if not groups:
        return
    figure, axes = plt.subplots(len(groups), len(FIGURES), figsize=(11, 1.9 * len(groups)), squeeze=False)
    for row, (group, title) in zip(axes, groups.items(), strict=True):
        runs = kept[group]["runs"]
        contenders = [c for c in dict.fromkeys(run["contender"] for run in runs) if "," not in c]
        contenders.sort(key=lambda c: median(run["mb_per_second"] for run in runs if run["contender"] == c))
        for axis, (name, unit) in zip(row, FIGURES.items(), strict=True):
            values = [median(run[name] for run in runs if run["contender"] == c) for c in contenders]
            colours = ["#1f6f43" if c == "spotguard" else "#cccccc" if c == "sendfile" else "#8899aa" for c in contenders]
            bars = axis.barh(contenders, values, color=colours)
            axis.bar_label(bars, labels=[f"{v:,.0f}" if v >= 10 else f"{v:.2f}" for v in values], padding=3, fontsize=8)
            axis.set_xlim(0, max(values) * 1.2)
            axis.set_title(f"{title}: {unit}", fontsize=9)
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(RESULTS / "transfer.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
