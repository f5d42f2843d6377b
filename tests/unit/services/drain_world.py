"""A machine with a trainer and a metadata service, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

from spotguard.core.status import DaemonState
from spotguard.ports.trainer import TrainerProcess
from tests.support.machine import Machine, save_hf
from tests.support.memory_metadata import MemoryMetadataService
from tests.support.memory_store import Link, MemoryBucket
from tests.support.memory_trainer import MemoryJournal, MemoryTrainer
from tests.support.virtual_time import VirtualClock


class Stage:
    """A machine, its metadata service and its trainer."""

    def __init__(self, *, link: Link | None = None, journal: MemoryJournal | None = None, configured: bool = True, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.bucket = MemoryBucket(self.clock)
        self.imds = MemoryMetadataService(self.clock.wall)
        self.trainer = MemoryTrainer(configured=configured)
        self.settings = {"signal": "SIGUSR1", **settings}
        self.machine = Machine(
            self.bucket,
            clock=self.clock,
            metadata=self.imds,
            trainer=self.trainer,
            link=link,
            journal=journal,
            **self.settings,
        )

    async def committed(self, step: int, size: int = 4000) -> None:
        self.machine.guard.schedule.hint(save_hf(self.machine.disk, step, size=size))
        await self.machine.state_of(f"checkpoint-{step}", "committed", within=120)

    async def verdict(self, within: float = 130) -> str:
        async with asyncio.timeout(within):
            view = await self.machine.guard.drain.view.until(lambda v: v.interruption is not None and v.interruption.verdict is not None)
            assert view.interruption is not None
            assert view.interruption.verdict is not None
            return view.interruption.verdict

    def state(self) -> DaemonState:
        return self.machine.report.state()

    def saves_then_exits(self, step: int, *, seconds: float, size: int = 4000) -> None:
        async def react(process: TrainerProcess, _: str) -> None:
            await asyncio.sleep(seconds)
            save_hf(self.machine.disk, step, size=size)
            await asyncio.sleep(0.5)
            self.trainer.exit(process)

        self.trainer.on_signal = react
