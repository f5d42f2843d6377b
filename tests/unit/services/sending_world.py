"""The part engine over fakes: one file on its way, in one life of the daemon or several."""

from __future__ import annotations

import random
from typing import Any

from spotguard.core.run_keys import RunKeys
from spotguard.services.upload.errand import Errand
from spotguard.services.upload.leftovers import Leftovers
from spotguard.services.upload.part_copies import PartCopies
from spotguard.services.upload.part_engine import PartEngine
from spotguard.services.upload.part_slots import PartSlots
from spotguard.services.upload.throughput import Throughput
from tests.support.faulty_store import Faults, FaultyCopies, FaultyTransfer
from tests.support.memory_copies import MemoryCopies
from tests.support.memory_store import Link, MemoryBucket, MemoryTransfer
from tests.support.memory_volume import MemoryVolume
from tests.support.virtual_time import VirtualClock

MIB = 1 << 20


class Sending:
    """One file and one life of a daemon's engine; `again` is the next life on the same bucket and disk."""

    def __init__(self, size: int, *, slots: int = 1, part_bytes: int = 5 * MIB, before: Sending | None = None, **bucket: Any) -> None:
        self.clock = VirtualClock()
        self.bucket = before.bucket if before else MemoryBucket(self.clock, **bucket)
        self.link = Link(MIB)
        self.faults = Faults()
        transfer = FaultyTransfer(MemoryTransfer(self.bucket, self.link), self.faults)
        copies = FaultyCopies(MemoryCopies(self.bucket), self.faults)
        self.engine = PartEngine(
            transfer,
            PartSlots(slots),
            Throughput(self.clock),
            part_bytes=part_bytes,
            copies=PartCopies(copies, RunKeys("bucket", "run1")),
            leftovers=Leftovers(transfer, copies, "run1/", store_now=self.bucket.now, may_abort=lambda: self.holds_the_run),
        )
        self.holds_the_run = True
        self.disk = before.disk if before else MemoryVolume(self.clock)
        if before is None:
            self.disk.write("f", random.Random(size).randbytes(size))
        self.size = size
        self.progress = 0
        self.found = 0

    def again(self, **settings: Any) -> Sending:
        """The next life, which knows nothing of this one."""
        return Sending(self.size, before=self, **settings)

    async def errand(self) -> Errand:
        return Errand(await self.disk.hold("f"), self.size, "run1/f", {}, lambda: (0,), found=self.count_found)

    def count(self, size: int) -> None:
        self.progress += size

    def count_found(self, size: int) -> None:
        self.found += size

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.bucket.log]
