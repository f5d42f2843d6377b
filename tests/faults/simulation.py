"""A seeded run of the whole: a trainer that saves and rotates, daemons that are killed, a store that fails, an interruption, a restore.

Everything happens on virtual time over the fakes of `tests/support`. One seed is one story, the same each time.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from awscrt.checksums import crc64nvme

from spotguard.core.checksum import encode_crc64
from spotguard.core.manifest import Manifest
from spotguard.core.manifest_format import decode
from spotguard.core.notice import NoticeKind
from spotguard.core.retention import RetentionRule
from spotguard.core.run_keys import newest_first
from spotguard.core.status import DaemonState
from spotguard.ports.trainer import TrainerProcess
from tests.support.faulty_store import Fault, Faults, FaultyCopies, FaultyStore, FaultyTransfer
from tests.support.machine import KEYS, Machine, hf_files, safetensors
from tests.support.memory_copies import MemoryCopies
from tests.support.memory_metadata import MemoryMetadataService
from tests.support.memory_store import Link, MemoryBucket, MemoryStore, MemoryTransfer
from tests.support.memory_trainer import MemoryJournal, MemoryTrainer
from tests.support.memory_volume import MemoryVolume
from tests.support.virtual_time import VirtualClock


@dataclass
class Told:
    """What came of one story."""

    verdict: str | None = None
    kills: int = 0
    faults: int = 0
    finished: list[int] = field(default_factory=list)
    """Steps that the trainer finished writing, in order."""
    newest_restorable: int | None = None
    copied: int = 0
    """Objects and parts that were copied inside the store."""
    broken: list[str] = field(default_factory=list)
    """Promise 1, where it does not hold."""


class Story:
    host = "i-1"
    dies_at_safe = False
    """Whether the machine goes the moment it is called safe, instead of at its deadline."""

    resaves = 0.15
    """How often a step is saved again, with other content under the same name."""

    manners: Mapping[str, int] = {"append": 8, "header last": 3, "change": 3, "begin anew": 1, "rename": 1}
    """How large files are written, and how often."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = VirtualClock()
        self.bucket = MemoryBucket(self.clock, min_part_bytes=0)
        self.disk = MemoryVolume(self.clock)
        self.imds = MemoryMetadataService(self.clock.wall)
        self.trainer = MemoryTrainer()
        self.journal = MemoryJournal()
        self.link = Link(self.rng.choice([200_000, 1_000_000, 20_000_000]))
        self.part_bytes = self.rng.choice([1 << 18, 1 << 20, 1 << 20, 5 << 20])
        self.whole_copy_bytes = self.rng.choice([0, 128 << 20])
        self.retention = RetentionRule(self.rng.choice([None, None, 1, 2]), None, None)
        self.settings: dict[str, Any] = {}
        self.frozen = b""
        self.process: TrainerProcess | None = None
        self.written: dict[str, list[Mapping[str, bytes]]] = {}
        """By name, every content that the trainer has finished or begun, in order."""
        self.told = Told()
        self.finished: list[int] = []
        self.stop_training = asyncio.Event()
        self.step = 0

    async def run(self) -> Told:
        self.process = self.trainer.start()
        self.trainer.on_signal = lambda *_: self.stop_training.set()
        training = asyncio.ensure_future(self._train())
        await self._guarded_life()
        self._judge()  # the machine is gone now; what the trainer finished later would be another machine's
        await training
        return self.told

    # the trainer

    async def _train(self) -> None:
        keep = self.rng.choice([1, 2, 3])
        size = self.rng.choice([20_000, 2_000_000, 3_000_000])
        kept: list[int] = []
        while not self.stop_training.is_set():
            await self._train_for(self.rng.uniform(2, 40))
            if not (kept and self.rng.random() < self.resaves):  # else the same step is saved again, with other content
                self.step += 10
                kept.append(self.step)
            await self._save(self.step, size)
            while len(kept) > keep:
                self.disk.delete(f"checkpoint-{kept.pop(0)}")
        assert self.process is not None
        self.trainer.exit(self.process)

    async def _train_for(self, seconds: float) -> None:
        """Until the next save is due, or the trainer is told to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self.stop_training.wait()
        except TimeoutError:
            return

    async def _save(self, step: int, size: int) -> None:
        name = f"checkpoint-{step}"
        if not self.frozen or self.rng.random() < 0.2:
            self.frozen = safetensors(self.rng.randbytes(1000) * self.rng.choice([150, 600]))
        files = hf_files(step, weights=self.rng.randbytes(min(size, 4096)) * max(1, size // 4096), salt=self.rng.randrange(10**9))
        files = {"frozen.safetensors": self.frozen, **files}
        self.written.setdefault(name, []).append(files)
        for path, content in files.items():
            if len(content) > 1_000_000 and self.rng.random() < 0.8:
                await self._write_slowly(f"{name}/{path}", content)
            else:
                self.disk.write(f"{name}/{path}", content[: len(content) // 2])
                await asyncio.sleep(self.rng.uniform(0, 0.4))
                self.disk.write(f"{name}/{path}", content)
            if self.rng.random() < 0.5 and self.machine is not None:
                self.machine.guard.schedule.hint(f"{name}/{path}", True)
            await asyncio.sleep(self.rng.uniform(0, 0.4))
        self.finished.append(step)

    async def _write_slowly(self, path: str, content: bytes) -> None:
        """As large files are written: from the start to the end, mostly; some writers come back to what they wrote before."""
        manner = self.rng.choices(list(self.manners), list(self.manners.values()))[0]
        seconds = self.rng.uniform(2, 15)
        if manner in ("begin anew", "rename"):
            await self._grow(path, self.rng.randbytes(1000) * (len(content) // 1000), until=self.rng.uniform(0.5, 1), seconds=seconds)
        if manner == "header last":
            await self._grow(path, bytes(100) + content[100:], seconds=seconds)
        elif manner == "change":
            at = self.rng.randrange(len(content) - 1)
            await self._grow(path, content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :], seconds=seconds)
        elif manner != "rename":
            await self._grow(path, content, seconds=seconds)
        self.disk.write(path, content, replace=manner == "rename")

    async def _grow(self, path: str, content: bytes, *, seconds: float, until: float = 1.0) -> None:
        steps = 20
        for step in range(1, int(steps * until) + 1):
            self.disk.write(path, content[: len(content) * step // steps])
            if step == 1 and self.machine is not None:
                self.machine.guard.schedule.hint(path)
            await asyncio.sleep(seconds / steps)

    machine: Machine | None = None

    # the daemon

    async def _guarded_life(self) -> None:
        notice_at = self.rng.uniform(60, 300)
        kills = sorted(self.rng.uniform(1, notice_at + 60) for _ in range(self.rng.choice([0, 1, 2, 3])))
        announced = False
        while True:
            self.machine = self._boot()
            async with self.machine.on() as daemon:
                end = notice_at + 125
                now = self.clock.monotonic()
                if not announced and (not kills or kills[0] >= notice_at):
                    await asyncio.sleep(max(0.0, notice_at - now))
                    self.imds.give(NoticeKind.TERMINATE, seconds=120)
                    announced = True
                if kills:
                    await asyncio.sleep(max(0.0, kills.pop(0) - self.clock.monotonic()))
                    if self.rng.random() < 0.8:
                        await self._until_in_the_middle(self.clock.monotonic() + 120)
                    self.told.kills += 1
                    continue
                await self._until(end)
                assert not daemon.done(), daemon.exception()
                interruption = self.machine.guard.drain.view.value.interruption
                self.told.verdict = interruption.verdict if interruption else None
                return

    async def _until_in_the_middle(self, end: float) -> None:
        """Wait for a large file of which parts lie in the bucket and others do not."""
        while self.clock.monotonic() < end and not any(len(upload.parts) > 1 for upload in self.bucket.uploads.values()):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.1)

    async def _until(self, end: float) -> None:
        assert self.machine is not None
        try:
            async with asyncio.timeout(max(0.0, end - self.clock.monotonic())):
                if self.dies_at_safe:
                    await self.machine.guard.drain.view.until(lambda view: view.state is DaemonState.SAFE)
                else:
                    await asyncio.Event().wait()
        except TimeoutError:
            return

    def _boot(self) -> Machine:
        faults = Faults(self.rng, {Fault.UNAVAILABLE: 0.05, Fault.LOST_ANSWER: 0.05})
        self.faults = faults
        return Machine(
            self.bucket,
            clock=self.clock,
            disk=self.disk,
            metadata=self.imds,
            trainer=self.trainer,
            journal=self.journal,
            link=self.link,
            store=FaultyStore(MemoryStore(self.bucket, self.clock), faults),
            transfer=FaultyTransfer(MemoryTransfer(self.bucket, self.link), faults),
            stored=FaultyCopies(MemoryCopies(self.bucket, whole_copy_bytes=self.whole_copy_bytes), faults),
            signal="SIGUSR1",
            name=self.host,
            part_bytes=self.part_bytes,
            retention=self.retention,
            **self.settings,
        )

    # the judgement

    def _judge(self) -> None:
        manifests: dict[str, Manifest] = {}
        for key, stored in self.bucket.objects.items():
            parsed = KEYS.parse_manifest(key)
            if parsed is None:
                continue
            manifest = decode(stored.body)
            manifests[key] = manifest
            self.told.broken += self._faults_of(manifest)
        newest = newest_first([parsed for key in manifests if (parsed := KEYS.parse_manifest(key))])
        self.told.finished = list(self.finished)
        self.told.copied = sum(verb in ("copy", "copy_part") for verb, _ in self.bucket.log)
        self.told.newest_restorable = manifests[newest[0].key].step if newest else None

    def _faults_of(self, manifest: Manifest) -> list[str]:
        restored = {}
        for file in manifest.files:
            stored = self.bucket.objects.get(KEYS.absolute(file.key))
            if stored is None or encode_crc64(crc64nvme(stored.body)) != file.crc64nvme or len(stored.body) != file.size:
                return [f"{manifest.name}/{file.path}: missing or not what the manifest says"]
            restored[file.path] = stored.body
        if restored not in self.written[manifest.name]:
            return [f"{manifest.name} generation {manifest.generation}: a mixture that the trainer never wrote"]
        return []


def describe(told: Told) -> str:
    return json.dumps(told.__dict__)
