"""Is a file that the trainer writes outside the watch root a checkpoint? Decided by its path alone, and in doubt it is none."""

from __future__ import annotations

import re
from enum import StrEnum

_CHECKPOINT = re.compile(r"^(tmp-)?(checkpoint|ckpt|global_?step|step|epoch|iter)[-_=]?\d+", re.IGNORECASE)
_WEIGHTS = frozenset({".pt", ".pth", ".ckpt", ".safetensors", ".distcp", ".keras"})
_NEVER = frozenset(
    {
        ".log",
        ".txt",
        ".csv",
        ".jsonl",
        ".out",
        ".err",
        ".arrow",
        ".parquet",
        ".lock",
        ".pid",
        ".sock",
        ".db",
        ".sqlite",
        ".wandb",
        ".py",
        ".so",
    }
)
_SYSTEM = ("/dev/", "/proc/", "/sys/", "/run/", "/memfd:", "/anon_")
_ELSEWHERE = re.compile(r"^(\..*|__pycache__|site-packages|.*cache.*|wandb|mlruns|torchinductor_.*|triton.*)$", re.IGNORECASE)
"""Folders of what frameworks write for themselves."""
_DATA = re.compile(r"^(data|datasets?|(pre)?processed|features|embeddings)$", re.IGNORECASE)
"""Folders in which a file of weights is more likely one of data."""


class Resemblance(StrEnum):
    NONE = "none"
    WEIGHTS = "weights"
    """A file of weights, which may also be data: one alone proves nothing."""
    CHECKPOINT = "checkpoint"
    """Named as checkpoints are, it or a folder that it is in."""


def resemblance(path: str) -> Resemblance:
    """Of an absolute path of a file that is open for writing."""
    *folders, name = path.split("/")
    suffix = _suffix(name)
    if path.startswith(_SYSTEM) or name.startswith(("events.out.tfevents", ".")) or suffix in _NEVER:
        return Resemblance.NONE
    if any(_ELSEWHERE.match(folder) for folder in folders):
        return Resemblance.NONE
    weights = suffix in _WEIGHTS
    if any(_CHECKPOINT.match(folder) for folder in folders) or (weights and _CHECKPOINT.match(name)):
        return Resemblance.CHECKPOINT
    return Resemblance.WEIGHTS if weights and not _DATA.match(folders[-1]) else Resemblance.NONE


def output_folder(path: str) -> str:
    """The folder that holds the checkpoints: what `watch.dir` would have to be."""
    parts = path.split("/")
    first = next((at for at, part in enumerate(parts) if _CHECKPOINT.match(part)), len(parts) - 1)
    return "/".join(parts[:first]) or "/"


def _suffix(name: str) -> str:
    return f".{name.rpartition('.')[2].lower()}" if "." in name else ""
