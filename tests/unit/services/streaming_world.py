"""A machine whose trainer writes a big file, piece by piece."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from tests.support.faulty_store import Faults, FaultyTransfer
from tests.support.machine import KEYS, Machine, hf_files, safetensors
from tests.support.memory_metadata import MemoryMetadataService
from tests.support.memory_store import Link, MemoryBucket, MemoryTransfer
from tests.support.memory_volume import MemoryVolume
from tests.support.virtual_time import VirtualClock

PART = 1 << 20
FILE = "model.safetensors"


def content(parts: float = 12, seed: int = 0) -> bytes:
    return safetensors(random.Random(seed).randbytes(int(parts * PART)))


class World:
    """A machine whose trainer writes a big file at half the rate of the link."""

    def __init__(self, *, rate: float = 2 * PART, disk: dict[str, Any] | None = None, imds: bool = False, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.bucket = MemoryBucket(self.clock, min_part_bytes=0)
        self.disk = MemoryVolume(self.clock, **(disk or {}))
        self.link = Link(rate)
        self.faults = Faults()
        self.imds = MemoryMetadataService(self.clock.wall) if imds else None
        self.settings: dict[str, Any] = {"part_bytes": PART} | settings
        self.machine = self.boot()

    def boot(self) -> Machine:
        transfer = FaultyTransfer(MemoryTransfer(self.bucket, self.link), self.faults)
        self.machine = Machine(
            self.bucket, clock=self.clock, disk=self.disk, link=self.link, transfer=transfer, metadata=self.imds, **self.settings
        )
        return self.machine

    def hint(self, path: str, *, closed: bool = False) -> None:
        self.machine.guard.schedule.hint(path, closed)

    async def grow(self, path: str, whole: bytes, *, start: int = 0, seconds_per_part: float = 1.0) -> None:
        """Append until it is whole."""
        if not start:
            self.disk.write(path, b"")
            self.hint(path)
        for end in range(start + PART // 2, len(whole) + PART // 2, PART // 2):
            await asyncio.sleep(seconds_per_part / 2)
            self.disk.write(path, whole[:end])

    def close(self, path: str) -> None:
        self.hint(path, closed=True)

    def finish(self, step: int, *, stage: str = "") -> str:
        """All that comes with the big file, the marker last."""
        name = f"{stage}/checkpoint-{step}" if stage else f"checkpoint-{step}"
        for path, small in hf_files(step, size=100).items():
            if path != FILE:
                self.disk.write(f"{name}/{path}", small)
        self.hint(name)
        return name

    async def ends_committed(self, path: str, *, within: float = 60) -> str:
        """The big file of checkpoint-1 is closed, the rest follows, and all is committed; the checkpoint's name."""
        self.close(path)
        name = self.finish(1)
        await self.machine.state_of(name, "committed", within=within)
        return name

    def sent(self) -> int:
        return self.link.carried_bytes

    def assert_committed(self, name: str, files: Mapping[str, bytes] | None = None) -> None:
        manifest = [one for one in self.machine.manifests().values() if one["name"] == name][-1]
        for file in manifest["files"]:
            wanted = (files or {}).get(file["path"]) or self.disk.content(f"{name}/{file['path']}")
            assert self.bucket.objects[KEYS.absolute(file["key"])].body == wanted, file["path"]

    def objects_of(self, path: str) -> list[str]:
        return [key for key in self.bucket.objects if key.startswith(KEYS.absolute(path))]
