"""Finds out, beside the loop, which of the checkpoints on disk are in the bucket: the store may be slow or away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from spotguard.ports.clock import Clock
from spotguard.ports.object_store import StoreError
from spotguard.services.replication.committed import Committed
from spotguard.services.replication.examination import Examination
from spotguard.services.replication.ledger import Ledger
from spotguard.services.replication.records import Record
from spotguard.services.store_health import StoreHealth

_AGAIN_SECONDS = 2.0
_LOOK_SECONDS = 0.2


class Recognition:
    def __init__(
        self, committed: Committed, examination: Examination, ledger: Ledger, health: StoreHealth, clock: Clock, nudge: Callable[[], None]
    ) -> None:
        """`nudge` is called when more is known, or the store has failed."""
        self._committed = committed
        self._examination = examination
        self._ledger = ledger
        self._health = health
        self._clock = clock
        self._nudge = nudge
        self._task: asyncio.Task[None] | None = None
        self._again_at = 0.0

    def go_on(self, group: asyncio.TaskGroup) -> None:
        """Look up, in a task of this group, what has changed on disk and is not recognised."""
        unknown = self._unknown()
        if self._committed.known:
            for record in unknown:
                if record.committed is None and self._committed.generation(record.name) == 0:
                    record.recognised = True
        unknown = [record for record in unknown if not record.recognised]
        due = self._clock.monotonic() >= self._again_at
        if (unknown or not self._committed.known) and due and (self._task is None or self._task.done()):
            self._task = group.create_task(self._recognise_all(unknown))

    def forget(self) -> None:
        """What was read of the bucket may not hold any more: all is looked up anew."""
        self._committed.forget()
        if self._task is not None:
            self._task.cancel()
        for record in self._ledger:
            record.recognised = False

    def next_due(self, now: float) -> float | None:
        """When to go on (monotonic); None when nothing is left to be found out."""
        return max(now + _LOOK_SECONDS, self._again_at) if self._unknown() or not self._committed.known else None

    def _unknown(self) -> list[Record]:
        return [record for record in self._ledger if record.local is not None and not record.recognised]

    async def _recognise_all(self, records: list[Record]) -> None:
        try:
            await self._committed.load()
            await self._learn_predecessors(records)
            for record in records:
                await self._recognise_one(record)
        except StoreError as error:
            self._health.failed(error)
            self._again_at = self._clock.monotonic() + _AGAIN_SECONDS
        else:
            self._health.answered()
        self._nudge()

    async def _recognise_one(self, record: Record) -> None:
        local = record.local
        manifest = await self._committed.manifest(record.name)
        likeness = await self._examination.likeness(local, manifest) if local is not None and manifest is not None else None
        if record.local is local:  # else it changed meanwhile and is looked at again
            record.committed, record.likeness, record.recognised = manifest, likeness, True
            if record.is_committed and record.task is None:
                record.capture = None

    async def _learn_predecessors(self, records: list[Record]) -> None:
        for name in self._committed.newest_relatives({record.name for record in records}):
            manifest = await self._committed.manifest(name)
            if manifest is not None:
                self._examination.learn(manifest)
