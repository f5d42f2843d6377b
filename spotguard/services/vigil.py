"""Looks at the whole now and then and says what is wrong with it: overdue, too large, a clock that is off, a disk that fills."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from statistics import median

from spotguard.core.problem import ProblemCode, Severity
from spotguard.ports.checkpoint_volume import CheckpointVolume
from spotguard.ports.clock import Clock
from spotguard.services.interruption.prospects import Prospects
from spotguard.services.problem_board import ProblemBoard
from spotguard.services.published import Published
from spotguard.services.replication.replication_view import ReplicationView

_FIRST_SECONDS = 2.0
"""A clock that is off, or a full disk, is known as soon as the store and the disk were asked."""
_EVERY_SECONDS = 15.0
_NOTHING_SEEN_SECONDS = 1800.0
_OVERDUE_INTERVALS = 3
_LEAST_INTERVALS = 2
"""From so many on there is a usual one."""
_LEAST_OVERDUE_SECONDS = 60.0
_CLOCK_OFF_SECONDS = 30.0
_DISK_LOW_FACTOR = 2


class Vigil:
    def __init__(
        self,
        *,
        volume: CheckpointVolume,
        view: Published[ReplicationView],
        prospects: Prospects,
        clock_offset: Callable[[], float | None],
        problems: ProblemBoard,
        clock: Clock,
        watch_dir: str,
    ) -> None:
        self._volume = volume
        self._view = view
        self._prospects = prospects
        self._clock_offset = clock_offset
        self._problems = problems
        self._clock = clock
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
        self._check_overdue(running_seconds)
        self._check_fit()
        self._check_clock()
        await self._check_disk()

    def _set(self, code: ProblemCode, message: str | None, fix: str, severity: Severity = Severity.WARNING) -> None:
        if message is None:
            self._problems.clear(code)
        else:
            self._problems.raise_(code, message, fix, severity)

    def _check_seen(self, running_seconds: float) -> None:
        """Where a trainer is known, its time counts: nothing is missed while none runs."""
        training_since = self._prospects.training_since()
        if training_since is not None:
            running_seconds = min(running_seconds, self._clock.wall().timestamp() - training_since)
        missing = not self._view.value.checkpoints and self._prospects.may_train() and running_seconds >= _NOTHING_SEEN_SECONDS
        self._set(
            ProblemCode.NO_CHECKPOINT_SEEN,
            f"no checkpoint was seen under {self._watch_dir} in {running_seconds / 60:.0f} min" if missing else None,
            "check that the trainer writes its checkpoints under watch.dir, and what watch.layout and watch.exclude leave out",
        )

    def _check_overdue(self, running_seconds: float) -> None:
        """Three times the usual interval, but not counting the time before this trainer, or this daemon, started."""
        times, message = [save.ended for save in self._prospects.saves()], None
        if len(times) > _LEAST_INTERVALS and self._prospects.may_train():
            now = self._clock.wall().timestamp()
            usual = median(later - earlier for earlier, later in pairwise(times))
            waited = now - max(times[-1], self._prospects.training_since() or now - running_seconds)
            if waited > max(_OVERDUE_INTERVALS * usual, _LEAST_OVERDUE_SECONDS):
                message = f"the last committed checkpoint is {now - times[-1]:.0f} s old; usually one comes every {usual:.0f} s"
        fix = "see whether the trainer still saves, and what /status says of the checkpoints that are not committed"
        self._set(ProblemCode.COMMIT_OVERDUE, message, fix)

    def _check_fit(self) -> None:
        ahead = self._prospects.outlook()
        message, fix = None, ""
        if ahead is not None and not ahead.fits:
            message = f"{ahead.shortfall}: {ahead.way_out}"
            fix = f"{ahead.way_out}; writing takes {ahead.save_seconds:.0f} s and sending {ahead.flush_seconds:.0f} s of them"
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
