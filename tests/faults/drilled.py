"""Stories in which somebody drills again and again, under a bandwidth cap, while the trainer saves and the daemon is killed."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from spotguard.core.rehearsal import Asks
from spotguard.ports.daemon_control import DrillRefused
from spotguard.ports.trainer import TrainerProcess
from spotguard.supervisor.control import Control
from tests.faults.simulation import Story, Told


class DrilledStory(Story):
    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.settings = {"checkpoint_signal": "SIGUSR2", "bytes_per_second": self.rng.choice([None, 100_000.0, 1e9])}
        self.save_now = asyncio.Event()
        self.drills = 0
        self.passed = 0

    async def run(self) -> Told:
        drilling = asyncio.ensure_future(self._drill_now_and_then())
        try:
            return await super().run()
        finally:
            drilling.cancel()
            with suppress(asyncio.CancelledError):
                await drilling

    async def _guarded_life(self) -> None:
        self.trainer.on_signal = self._heed
        await super()._guarded_life()

    def _heed(self, _: TrainerProcess, signal_name: str) -> None:
        (self.stop_training if signal_name == "SIGUSR1" else self.save_now).set()

    async def _train_for(self, seconds: float) -> None:
        told = [asyncio.ensure_future(event.wait()) for event in (self.stop_training, self.save_now)]
        await asyncio.wait(told, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for waiting in told:
            waiting.cancel()
        self.save_now.clear()

    async def _drill_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(1, 60))
            if self.machine is None:
                continue
            control = Control(self.machine.guard, self.machine.report)
            asks = self.rng.choice([None, None, None, Asks.NOTHING, Asks.NOTHING, Asks.STOP if self.rng.random() < 0.2 else None])
            with suppress(DrillRefused):
                await control.drill(self.rng.uniform(1, 120), asks=asks)
                self.drills += 1
                report = await control.drill_report(self.rng.uniform(0, 130))
                self.passed += report is not None and report.passed
