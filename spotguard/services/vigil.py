"""Looks at the whole now and then and says what is wrong with it: overdue, too large, a clock that is off, a disk that fills."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

from spotguard.core.exposure import NOTICE_SECONDS, Save, flush_seconds, save_seconds
from spotguard.core.problem import ProblemCode, Severity
from spotguard.ports.checkpoint_volume import CheckpointVolume
from spotguard.ports.clock import Clock
from spotguard.services.problem_board import ProblemBoard
from spotguard.services.published import Published
from spotguard.services.replication_view import ReplicationView

_FIRST_SECONDS = 2.0
"""A clock that is off, or a full disk, is known as soon as the store and the disk were asked."""
_EVERY_SECONDS = 15.0
_NOTHING_SEEN_SECONDS = 1800.0
_OVERDUE_INTERVALS = 3
_LEAST_OVERDUE_SECONDS = 60.0
_CLOCK_OFF_SECONDS = 30.0
_DISK_LOW_FACTOR = 2


class Vigil:
    def __init__(
        self,
        *,
        volume: CheckpointVolume,
        view: Published[ReplicationView],
        saves: Callable[[], Sequence[Save]],
        throughput: Callable[[], float | None],
        clock_offset: Callable[[], float | None],
        problems: ProblemBoard,
        clock: Clock,
        margin_seconds: float,
        watch_dir: str,
    ) -> None:
        self._volume = volume
        self._view = view
        self._saves = saves
        self._throughput = throughput
        self._clock_offset = clock_offset
        self._problems = problems
        self._clock = clock
        self._margin_seconds = margin_seconds
        self._watch_dir = watch_dir

    async def run(self) -> None:
        """Look until cancelled."""
        began = self._clock.monotonic()
        await asyncio.sleep(_FIRST_SECONDS)
        while True:
            await self.look(self._clock.monotonic() - began)
            await asyncio.sleep(_EVERY_SECONDS)

    async def look(self, running_seconds: float) -> None:
        self._check_seen(running_seconds)
        self._check_overdue()
        self._check_fit()
        self._check_clock()
        await self._check_disk()

    def _set(self, code: ProblemCode, message: str | None, fix: str, severity: Severity = Severity.WARNING) -> None:
        if message is None:
            self._problems.clear(code)
        else:
            self._problems.raise_(code, message, fix, severity)

    def _check_seen(self, running_seconds: float) -> None:
        missing = not self._view.value.checkpoints and running_seconds >= _NOTHING_SEEN_SECONDS
        self._set(
            ProblemCode.NO_CHECKPOINT_SEEN,
            f"no checkpoint was seen under {self._watch_dir} in {running_seconds / 60:.0f} min" if missing else None,
            "check that the trainer writes its checkpoints under watch.dir, and what watch.layout and watch.exclude leave out",
        )

    def _check_overdue(self) -> None:
        times = [save.last for save in self._saves()]
        message = None
        if len(times) >= 3:
            usual = median(later - earlier for earlier, later in pairwise(times))
            since = self._clock.wall().timestamp() - times[-1]
            if since > max(_OVERDUE_INTERVALS * usual, _LEAST_OVERDUE_SECONDS):
                message = f"the last committed checkpoint is {since:.0f} s old; usually one comes every {usual:.0f} s"
        fix = "see whether the trainer still saves, and what /status says of the checkpoints that are not committed"
        self._set(ProblemCode.COMMIT_OVERDUE, message, fix)

    def _check_fit(self) -> None:
        saves, rate = self._saves(), self._throughput()
        message, fix = None, ""
        if saves and rate:
            size, left = saves[-1].size, NOTICE_SECONDS - self._margin_seconds
            needed = (flush_seconds(size, rate) or 0.0) + (save_seconds(saves) or 0.0)
            if needed > left:
                message = f"{size / 1e9:.1f} GB needs {needed:.0f} s of {left:.0f} s at {rate / 1e6:.0f} MB/s"
                fix = f"save more often than every {needed / 60:.0f} min, or get {size * 8 / max(1.0, left - 1) / 1e9:.1f} Gbit/s"
        self._set(ProblemCode.DOES_NOT_FIT, message, fix)

    def _check_clock(self) -> None:
        offset = self._clock_offset()
        off = offset is not None and abs(offset) >= _CLOCK_OFF_SECONDS
        message = f"the local clock is {abs(offset or 0):.0f} s {'behind' if (offset or 0) > 0 else 'ahead of'} S3's" if off else None
        fix = "run chrony or systemd-timesyncd; S3 refuses requests from 15 min on"
        self._set(ProblemCode.CLOCK_OFF, message, fix)

    async def _check_disk(self) -> None:
        largest = max((checkpoint.bytes for checkpoint in self._view.value.checkpoints), default=0)
        free = await self._volume.free_bytes()
        low = largest > 0 and free < _DISK_LOW_FACTOR * largest
        told = f"{free / 1e9:.1f} GB are free under {self._watch_dir}, the largest checkpoint is {largest / 1e9:.1f} GB"
        fix = "delete old local checkpoints or .spotguard-quarantine, or have the trainer keep fewer (save_total_limit)"
        self._set(ProblemCode.DISK_LOW, told if low else None, fix)
