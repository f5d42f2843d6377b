"""Takes torn checkpoints out of a trainer's sight, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import structlog

from spotguard.core.recovery import could_be_picked, quarantine_name
from spotguard.ports.clock import Clock
from spotguard.ports.placement import Placement, PlacementFailed
from spotguard.ports.writer_watch import WriterWatch
from spotguard.services.restore.local_findings import Look, Torn, seconds_since
from spotguard.services.restore.restore_outcome import LeftAlone, MovedAside

log = structlog.get_logger()


class TornCheckpoints:
    def __init__(self, placement: Placement, watch: WriterWatch, clock: Clock, *, settle_seconds: float) -> None:
        self._placement = placement
        self._watch = watch
        self._clock = clock
        self._settle_seconds = settle_seconds

    async def move_aside(self, look: Look, *, stage: str | None, known: Collection[str]) -> tuple[list[MovedAside], list[LeftAlone]]:
        """Move the torn ones of a stage (of all, if None) into the quarantine; those in use are left alone and told of.

        `known`: names of checkpoints that are or were whole, here or in the bucket."""
        moved: list[MovedAside] = []
        left: list[LeftAlone] = []
        for torn in look.torn:
            if (stage is not None and torn.name.rpartition("/")[0] != stage) or not could_be_picked(torn.name, torn.layout, known):
                continue
            busy = await self.busy(look, torn.name, torn.paths)
            if busy is not None:
                left.append(LeftAlone(torn.name, f"it is torn ({torn.reason}) but {busy}"))
                continue
            try:
                where = await self._put_away(torn)
            except PlacementFailed as error:
                left.append(LeftAlone(torn.name, f"it is torn ({torn.reason}) but can not be moved: {error}"))
            else:
                moved.append(MovedAside(torn.name, where, torn.reason))
        return moved, left

    async def busy(self, look: Look, name: str, paths: Sequence[str]) -> str | None:
        """Why it must not be touched now; None when it may be."""
        ago = seconds_since(look.changed_ns(name), self._clock)
        if ago < self._settle_seconds:
            return f"it changed {ago:.0f} s ago, less than watch.settle_seconds ({self._settle_seconds:g} s)"
        users = await self._watch.users([self._placement.absolute(path) for path in paths])
        if users:
            first = min(users)
            return f"the process {first.pid} ({first.command[:60]}) has it open"
        return None

    async def _put_away(self, torn: Torn) -> str:
        where = await self._placement.set_aside(torn.paths, quarantine_name(torn.name, self._clock.wall()))
        log.warning("checkpoint.moved_aside", checkpoint=torn.name, to=where, reason=torn.reason)
        return where
