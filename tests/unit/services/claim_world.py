"""Daemons that claim one run in one bucket, in virtual time."""

from __future__ import annotations

import asyncio
import json

from spotguard.core.claim import ClaimPhase
from spotguard.core.manifest import Host
from spotguard.core.run_keys import RunKeys
from spotguard.services.problem_board import ProblemBoard
from spotguard.services.run.claim import RunClaim
from spotguard.services.store_health import StoreHealth
from tests.support.faulty_store import Faults, FaultyStore
from tests.support.memory_store import MemoryBucket, MemoryStore
from tests.support.virtual_time import VirtualClock

KEYS = RunKeys("b", "runs/one")
P = ClaimPhase


class Daemon:
    """The claim of one daemon on one host, whose wall clock may be wrong by `skew`."""

    def __init__(self, bucket: MemoryBucket, name: str, *, skew: float = 0.0, faults: Faults | None = None, instance: bool = True) -> None:
        self.bucket = bucket
        self.faults = faults or Faults()
        self.clock = VirtualClock(skew_seconds=skew)
        self.problems = ProblemBoard(self.clock)
        self.store = FaultyStore(MemoryStore(bucket, self.clock), self.faults)
        self.host = Host(name, f"i-{name}" if instance else None)
        health = StoreHealth(self.problems)
        self.claim = RunClaim(self.store, KEYS, self.clock, self.host, self.problems, health, pid=1, version="0")

    @property
    def phase(self) -> ClaimPhase:
        return self.claim.state.value.phase

    async def acquire(self) -> float:
        """Seconds that it took."""
        began = self.clock.monotonic()
        await self.claim.acquire()
        return self.clock.monotonic() - began


async def live(daemon: Daemon, delay: float = 0.0) -> None:
    """A daemon's whole life with its claim: claim, hold, give way."""
    await asyncio.sleep(delay)
    await daemon.claim.acquire()
    if daemon.phase is P.HELD:
        await daemon.claim.watch()
        await daemon.claim.release()


async def end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def new_bucket() -> MemoryBucket:
    return MemoryBucket(VirtualClock())


def document(bucket: MemoryBucket, number: int, note: str = "") -> dict[str, object]:
    found: dict[str, object] = json.loads(bucket.objects[KEYS.claim(number, note)].body)
    return found
