"""What would be lost if the machine went now: estimates from what earlier saves and uploads took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

NOTICE_SECONDS = 120.0
"""What AWS gives before a termination, at best."""
COMMIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Save:
    """One committed checkpoint: when its first and last file were written (seconds), its size in bytes and its step."""

    first: float
    last: float
    size: int
    step: int | None


def save_seconds(saves: Sequence[Save]) -> float | None:
    """How long the trainer takes to write a checkpoint: the median of the last five. None when none is known."""
    return median(save.last - save.first for save in saves[-5:]) if saves else None


def steps_at_risk(saves: Sequence[Save], *, now: float) -> float | None:
    """Steps of training since the newest save, at the pace between the last two saves; None when that is not known."""
    stepped = [save for save in saves if save.step is not None]
    if len(stepped) < 2:
        return None
    before, newest = stepped[-2], stepped[-1]
    if newest.step is None or before.step is None or newest.last <= before.last or newest.step <= before.step:
        return None
    return max(0.0, (now - newest.last) * (newest.step - before.step) / (newest.last - before.last))


def flush_seconds(size: int, bytes_per_second: float | None) -> float | None:
    """How long these bytes take to be committed; None when no throughput was measured."""
    return None if not bytes_per_second else size / bytes_per_second + COMMIT_SECONDS


def longest_fitting(seconds: float, bytes_per_second: float | None) -> int | None:
    """How many bytes can be written out within `seconds`; None when no throughput was measured."""
    return None if not bytes_per_second else int(max(0.0, seconds - COMMIT_SECONDS) * bytes_per_second)
