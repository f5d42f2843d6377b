"""What would be lost if the machine went now: estimates from what earlier saves and uploads took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from spotguard.core.phrasing import at_least_every, at_least_rate, in_gigabytes
from spotguard.core.status import ExposureStatus

NOTICE_SECONDS = 120.0
"""What AWS gives before a termination, at best."""
COMMIT_SECONDS = 1.0
_LATEST = 5
"""Of so many saves the middle one counts: one that was slow or fast for once decides nothing."""


@dataclass(frozen=True, slots=True)
class Save:
    """One committed checkpoint: when its writing began and ended (seconds since the epoch), its size in bytes and its step."""

    began: float
    ended: float
    size: int
    step: int | None


@dataclass(frozen=True, slots=True)
class Link:
    """What is known of the way to the store, in bytes per second."""

    rate: float | None = None
    """As it was measured; None where it was not, or only under a cap that held it back."""
    at_least: float | None = None
    """What it has carried under such a cap: it can do this and maybe more."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """Whether the next save would get out between a notice and its deadline."""

    size: int
    save_seconds: float
    flush_seconds: float
    seconds_left: float
    """From the notice to the deadline."""

    @property
    def needed_seconds(self) -> float:
        return self.save_seconds + self.flush_seconds

    @property
    def fits(self) -> bool:
        return self.needed_seconds <= self.seconds_left

    @property
    def shortfall(self) -> str:
        """`80 GB needs 256 s of 115 s`."""
        return f"{in_gigabytes(self.size)} needs {self.needed_seconds:.0f} s of {max(0.0, self.seconds_left):.0f} s"

    @property
    def way_out(self) -> str:
        """`save every 5 min, or 6 Gbit/s`: so often that each save is out before the next, or a link on which it fits; where writing alone
        takes too long there is none."""
        often = f"save every {at_least_every(self.needed_seconds)}"
        for_sending = self.seconds_left - self.save_seconds - COMMIT_SECONDS
        return f"{often}, or {at_least_rate(self.size / for_sending)}" if for_sending > 0 else often


def save_seconds(saves: Sequence[Save]) -> float | None:
    """How long the trainer takes to write a checkpoint; None when none is known."""
    return median(save.ended - save.began for save in saves[-_LATEST:]) if saves else None


def steps_at_risk(saves: Sequence[Save], *, now: float) -> float | None:
    """Steps of training since the newest save, at the pace of the latest saves; None when that is not known.

    A pair of saves between which the step went backwards (a restarted run) or no time passed tells no pace."""
    if not saves:
        return None
    paces = [
        (later.step - earlier.step) / (later.ended - earlier.ended)
        for earlier, later in pairwise(saves[-_LATEST - 1 :])
        if earlier.step is not None and later.step is not None and later.step > earlier.step and later.ended > earlier.ended
    ]
    return max(0.0, now - saves[-1].ended) * median(paces) if paces else None


def flush_seconds(size: int, bytes_per_second: float | None) -> float | None:
    """How long these bytes take to be committed; None when no throughput was measured."""
    return None if not bytes_per_second else size / bytes_per_second + COMMIT_SECONDS


def longest_fitting(seconds: float, bytes_per_second: float | None) -> int | None:
    """How many bytes can be committed within `seconds`; None when no throughput was measured."""
    return None if not bytes_per_second else int(max(0.0, seconds - COMMIT_SECONDS) * bytes_per_second)


def outlook(size: int, saves: Sequence[Save], bytes_per_second: float | None, seconds_left: float) -> Outlook | None:
    """For a save of this size; None where nothing was measured."""
    flush = flush_seconds(size, bytes_per_second) if size else None
    return None if flush is None else Outlook(size, save_seconds(saves) or 0.0, flush, seconds_left)


def expose(
    saves: Sequence[Save], *, size: int, link: Link, now: float, since_last_commit: float | None, training: bool, seconds_left: float
) -> ExposureStatus:
    """`saves`: the newest last. `size`: of the save to expect. `training`: False where the trainer is known not to run, so that no step
    comes to be at risk. `seconds_left`: from a notice to its deadline."""
    save = save_seconds(saves)
    rate = link.rate or link.at_least
    ahead = outlook(size, saves, rate, seconds_left)
    # what does not even fit at the least that the link can do may fit all the same: nobody is told that it does not
    unsure = ahead is None or (link.rate is None and not ahead.fits)
    return ExposureStatus(
        seconds_since_last_commit=None if since_last_commit is None else max(0.0, round(since_last_commit, 1)),
        steps_at_risk_estimate=_rounded(steps_at_risk(saves, now=now)) if training else None,
        save_seconds_estimate=_rounded(save),
        flush_seconds_estimate=None if ahead is None else _rounded(ahead.flush_seconds),
        fits_in_notice=None if unsure or ahead is None else ahead.fits,
        longest_fitting_bytes=longest_fitting(seconds_left - (save or 0.0), rate),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
