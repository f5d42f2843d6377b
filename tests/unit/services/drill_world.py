"""A drill on a live job, in virtual time."""

from __future__ import annotations

import asyncio

from spotguard.core.rehearsal import Asks, DrillReport
from spotguard.ports.trainer import TrainerProcess
from spotguard.supervisor.control import Control
from tests.support.machine import save_hf
from tests.unit.services.drain_world import Stage

MB = 250_000
"""A small one, so that the link is slow and the bodies are quickly made."""


def control(stage: Stage) -> Control:
    return Control(stage.machine.guard, stage.machine.report)


async def drilled(stage: Stage, seconds: float = 120, *, asks: Asks | None = None, hooks: bool = False) -> DrillReport:
    await control(stage).drill(seconds, asks=asks, hooks=hooks)
    report = await control(stage).drill_report(seconds + 5)
    assert report is not None
    return report


def saves_and_goes_on(stage: Stage, step: int, *, seconds: float, size: int = 4000) -> None:
    async def react(_: TrainerProcess, __: str) -> None:
        await asyncio.sleep(seconds)
        save_hf(stage.machine.disk, step, size=size)
        await asyncio.sleep(8)
        stage.machine.disk.write(f"checkpoint-{step + 1}/model.safetensors", b"the next save has begun")

    stage.trainer.on_signal = react
