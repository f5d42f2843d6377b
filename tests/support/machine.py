"""One virtual machine with a daemon on it: the real services over fakes of every edge, on virtual time."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any

from spotguard.core.exit_status import ExitStatus
from spotguard.core.manifest import Host
from spotguard.core.run_keys import RunKeys
from spotguard.ports.bulk_send import BulkSend
from spotguard.ports.metadata_service import MetadataService
from spotguard.ports.object_store import ObjectStore
from spotguard.ports.offload import Offload, at_once
from spotguard.ports.part_transfer import PartTransfer
from spotguard.ports.stored_content import StoredContent
from spotguard.services.published import Published
from spotguard.services.replication.urgency import Urgency
from spotguard.supervisor.edges import Ports
from spotguard.supervisor.guard import Guard
from spotguard.supervisor.life import Life
from spotguard.supervisor.report import Report
from spotguard.supervisor.settings import GuardSettings
from tests.support.bulk_over import BulkOver
from tests.support.memory_copies import MemoryCopies
from tests.support.memory_store import Link, MemoryBucket, MemoryStore, MemoryTransfer
from tests.support.memory_trainer import MemoryAnnouncements, MemoryJournal, MemoryServiceManager, MemoryTrainer, MemoryWriterWatch
from tests.support.memory_volume import MemoryVolume
from tests.support.virtual_time import VirtualClock

KEYS = RunKeys("bucket", "run1")


class Machine:
    """`disk` outlives the daemon; `bucket` outlives the machine."""

    def __init__(
        self,
        bucket: MemoryBucket,
        *,
        clock: VirtualClock | None = None,
        disk: MemoryVolume | None = None,
        name: str = "i-1",
        metadata: MetadataService | None = None,
        trainer: MemoryTrainer | None = None,
        journal: MemoryJournal | None = None,
        link: Link | None = None,
        store: ObjectStore | None = None,
        transfer: PartTransfer | None = None,
        stored: StoredContent | None = None,
        bulk: BulkSend | None = None,
        offload: Offload = at_once,
        **settings: Any,
    ) -> None:
        self.clock = clock or VirtualClock()
        self.bucket = bucket
        self.disk = disk or MemoryVolume(self.clock)
        self.trainer = trainer or MemoryTrainer(configured=False)
        self.announcements = MemoryAnnouncements()
        self.link = link or Link()
        self.store = store or MemoryStore(bucket, self.clock)
        self.transfer = transfer or MemoryTransfer(bucket, self.link)
        self.ports = Ports(
            store=self.store,
            transfer=self.transfer,
            bulk=bulk or BulkOver(self.transfer),
            stored=stored or MemoryCopies(bucket),
            volume=self.disk,
            trainer=self.trainer,
            announcements=self.announcements,
            journal=journal or MemoryJournal(),
            writer_watch=MemoryWriterWatch(),
            clock=self.clock,
            offload=offload,
            metadata=metadata,
        )
        given = GuardSettings(keys=KEYS, host=Host(name, name), version="0.1.0", pid=1, watch_dir="/out", part_bytes=5 << 20)
        self.guard = Guard(self.ports, replace(given, **settings), Published(Urgency()))
        self.report = Report(self.guard)
        self.life = Life(self.guard, self.report, MemoryServiceManager(), edges=list)

    @asynccontextmanager
    async def on(self) -> AsyncIterator[asyncio.Task[ExitStatus]]:
        """The daemon runs while the body does; at the body's end it is gone as by kill -9."""
        task = asyncio.ensure_future(self.life.live())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def state_of(self, name: str, state: str, within: float = 60.0) -> None:
        """Wait until the status shows this checkpoint in this state."""

        def shows(view: Any) -> bool:
            return any(c.name == name and c.state.value == state for c in view.checkpoints)

        async with asyncio.timeout(within):
            await self.guard.replicator.view.until(shows)

    def states(self) -> dict[str, str]:
        return {c.name: c.state.value for c in self.guard.replicator.view.value.checkpoints}

    def manifests(self) -> dict[str, dict[str, Any]]:
        """By key, as they lie in the bucket."""
        return manifests_in(self.bucket)


def manifests_in(bucket: MemoryBucket, keys: RunKeys = KEYS) -> dict[str, dict[str, Any]]:
    return {key: json.loads(stored.body) for key, stored in sorted(bucket.objects.items()) if key.startswith(keys.manifests)}


def hf_files(step: int, *, weights: bytes = b"", size: int = 4000, salt: int = 0) -> dict[str, bytes]:
    """What the Trainer of Hugging Face writes, in its order, in bytes that pass the structural checks.

    `salt` tells two saves of the same step apart, in every file but the constant ones."""
    return {
        "config.json": b"{}",
        "model.safetensors": safetensors(weights or bytes([step % 251]) * size),
        "training_args.bin": torch_zip(b"args"),
        "optimizer.pt": torch_zip(b"optimizer %d %09d" % (step, salt)),
        "scheduler.pt": torch_zip(b"scheduler %d %09d" % (step, salt)),
        "rng_state.pth": torch_zip(b"rng %d %09d" % (step, salt)),
        "trainer_state.json": json.dumps({"global_step": step, "salt": salt}).encode(),
    }


def save_hf(disk: MemoryVolume, step: int, *, stage: str = "", size: int = 4000) -> str:
    """Write a whole checkpoint at once; its name."""
    name = f"{stage}/checkpoint-{step}" if stage else f"checkpoint-{step}"
    for file, content in hf_files(step, size=size).items():
        disk.write(f"{name}/{file}", content)
    return name


def safetensors(data: bytes) -> bytes:
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    return len(header).to_bytes(8, "little") + header + data


def torch_zip(data: bytes) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.pkl"), data)  # of a fixed date: equal data, equal bytes
    return out.getvalue()
