"""Seeded stories of two machines on one run: the old one drains, or is paused and comes back, while the new one starts on its own disk."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from spotguard.core.claim import ClaimPhase
from spotguard.core.notice import NoticeKind
from spotguard.core.retention import RetentionRule
from tests.faults.simulation import Story
from tests.support.machine import manifests_in
from tests.support.memory_metadata import MemoryMetadataService
from tests.support.memory_store import Link
from tests.support.memory_volume import MemoryVolume


@dataclass
class Outcome:
    """What came of one story."""

    broken: list[str] = field(default_factory=list)
    """Promise 1, where it does not hold."""
    late: list[str] = field(default_factory=list)
    """What the old daemon made visible after its release."""
    fenced: bool = False
    writers: set[str] = field(default_factory=set)
    """Hosts that committed something."""
    both_wrote_one_name: bool = False


class TwoWriters:
    def __init__(self, seed: int) -> None:
        self.old, self.new = Story(seed), Story(seed + 1_000_000)
        self.rng = self.old.rng
        self.new.host = "i-2"
        self.new.clock, self.new.bucket, self.new.written = self.old.clock, self.old.bucket, self.old.written
        self.old.link = Link(self.rng.choice([50_000, 200_000, 5_000_000]))  # slow ones are in the middle of it when they must stop
        if seed % 3:
            self.old.retention = self.new.retention = RetentionRule()  # else who wrote what could not be told afterwards
        self.new.disk = MemoryVolume(self.new.clock)
        self.new.imds = MemoryMetadataService(self.new.clock.wall)

    async def run(self) -> Outcome:
        old = self.old
        training = [self._start_training(old)]
        old.machine = old._boot()
        async with old.machine.on() as first:
            await asyncio.sleep(self.rng.uniform(20, 120))
            what = self.rng.choice(["drains", "pauses", "neither"])
            if what == "drains":
                old.imds.give(NoticeKind.TERMINATE, seconds=120)
                await asyncio.sleep(self.rng.uniform(0, 60))
            elif what == "pauses":
                old.faults.latency_seconds = self.rng.uniform(5, 90)  # what it asks for happens when others have gone on
            self.new.step = self.rng.choice([0, old.step])
            training.append(self._start_training(self.new))
            self.new.machine = self.new._boot()
            async with self.new.machine.on() as second:
                await asyncio.sleep(self.rng.uniform(30, 120))
                old.faults.latency_seconds = 0.0
                await asyncio.sleep(self.rng.uniform(60, 120))
                for daemon in (first, second):
                    assert not daemon.done(), daemon.exception()
                fenced = old.machine.guard.claim.state.value.phase is ClaimPhase.FENCED
                for story in (old, self.new):
                    story.stop_training.set()
                await asyncio.gather(*training)
        return self._judged(fenced=fenced)

    def _start_training(self, story: Story) -> asyncio.Future[None]:
        story.process = story.trainer.start()
        story.trainer.on_signal = lambda *_: story.stop_training.set()
        return asyncio.ensure_future(story._train())

    def _judged(self, *, fenced: bool) -> Outcome:
        self.old._judge()
        outcome = Outcome(broken=self.old.told.broken, fenced=fenced)
        manifests = manifests_in(self.old.bucket)
        by_name: dict[str, set[str]] = {}
        for manifest in manifests.values():
            by_name.setdefault(manifest["name"], set()).add(manifest["host"]["instance_id"])
        outcome.writers = set().union(*by_name.values())
        outcome.both_wrote_one_name = any(len(hosts) > 1 for hosts in by_name.values())
        log = [key for _, key in self.old.bucket.log]
        released = next((at for at, key in enumerate(log) if key.endswith("00000001.released.json")), len(log))
        outcome.late = [key for key in log[released:] if key in manifests and manifests[key]["host"]["instance_id"] == "i-1"]
        return outcome
