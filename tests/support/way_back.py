"""A machine that restores: a bucket in memory, a real folder, and nobody else, unless a test says so."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from spotguard.adapters.disk.placement import LocalPlacement
from spotguard.adapters.disk.volume import LocalVolume
from spotguard.core.manifest import Host
from spotguard.core.run_keys import RunKeys
from spotguard.ports.bulk_fetch import BulkFetch
from spotguard.ports.object_store import ObjectStore
from spotguard.ports.part_transfer import PartTransfer
from spotguard.ports.placement import Placement
from spotguard.ports.trainer import TrainerProcess
from spotguard.services.restore.restore_outcome import RestoreOutcome
from spotguard.services.restore.restorer import RestorePorts, Restorer, RestoreSettings
from tests.support.committed_run import CommittedRun
from tests.support.memory_store import MemoryBucket, MemoryBulk, MemoryStore, MemoryTransfer

KEYS = RunKeys("b", "run1")


class NobodyWatches:
    """`users_of`: absolute paths that somebody has open."""

    def __init__(self) -> None:
        self.users_of: set[str] = set()

    async def writers(self, folders: Collection[str]) -> frozenset[TrainerProcess]:
        return frozenset()

    async def users(self, folders: Collection[str]) -> frozenset[TrainerProcess]:
        return frozenset({TrainerProcess(4711, 0.0, "python train.py")} if self.users_of & set(folders) else ())

    async def exited_badly(self, process: TrainerProcess) -> bool | None:
        return None


class WallClock:
    def wall(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        import asyncio

        return asyncio.get_running_loop().time()

    def cpu(self) -> float:
        return 0.0


@dataclass
class NewMachine:
    root: Path
    bucket: MemoryBucket = field(default_factory=MemoryBucket)
    watch: NobodyWatches = field(default_factory=NobodyWatches)
    settle_seconds: float = 5.0
    part_bytes: int = 1000
    """Small, so that files have several parts."""
    store: ObjectStore | None = None
    transfer: PartTransfer | None = None
    """With one of its own, files come by it only, unless `bulk` is given too."""
    bulk: BulkFetch | None = None
    placement: Placement | None = None

    def run(self) -> CommittedRun:
        return CommittedRun(MemoryStore(self.bucket), KEYS)

    def restorer(self) -> Restorer:
        ports = RestorePorts(
            store=self.store or MemoryStore(self.bucket),
            transfer=self.transfer or MemoryTransfer(self.bucket),
            placement=self.placement or LocalPlacement(str(self.root)),
            volume=LocalVolume(str(self.root), exclude=["*.log", "*.tmp"]),
            writer_watch=self.watch,
            clock=WallClock(),
            bulk=self.bulk or (MemoryBulk(self.bucket) if self.transfer is None else None),
        )
        settings = RestoreSettings(
            host=Host("new-machine", "i-0new"), settle_seconds=self.settle_seconds, part_bytes=self.part_bytes, concurrency=3
        )
        return Restorer(ports, KEYS, settings)

    async def restore(self, name: str | None = None, stage: str | None = None) -> RestoreOutcome:
        return await self.restorer().restore(name, stage=stage)

    def damage(self, key: str, body: bytes | None) -> None:
        """Replace an object behind everybody's back, or delete it."""
        absolute = KEYS.absolute(key)
        self.bucket.remove(absolute)
        if body is not None:
            self.bucket.write("damage", absolute, body, {}, only_new=True)

    def write(self, files: dict[str, bytes], *, below: str, age_seconds: float) -> Path:
        """A folder as a trainer left it so long ago."""
        folder = self.root / below
        then = datetime.now(UTC).timestamp() - age_seconds
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            os.utime(target, (then, then))
        for at, _, _ in os.walk(folder):
            os.utime(at, (then, then))
        return folder
