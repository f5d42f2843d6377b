"""What the service manager hears: one line on the state, and a pulse only while the reconcile loop is alive."""

from __future__ import annotations

import asyncio

from spotguard.supervisor.pulse import Pulse
from tests.support.machine import Machine
from tests.support.memory_store import MemoryBucket
from tests.support.memory_trainer import MemoryServiceManager
from tests.support.memory_volume import MemoryVolume
from tests.support.virtual_time import VirtualClock, run_virtual


class HangingDisk(MemoryVolume):
    """From `hang` on no look at it ever ends, as on a network filesystem whose server is gone."""

    hangs = False
    hung = 0

    async def scan(self, folders=None):  # type: ignore[no-untyped-def]
        if self.hangs:
            self.hung += 1
            await asyncio.Event().wait()
        return await super().scan(folders)


def machine_on(disk: MemoryVolume, clock: VirtualClock) -> tuple[Machine, MemoryServiceManager, Pulse]:
    machine = Machine(MemoryBucket(clock), clock=clock, disk=disk)
    manager = MemoryServiceManager(watchdog_seconds=10)
    return machine, manager, Pulse(machine.guard, machine.report, manager)


def beats(manager: MemoryServiceManager) -> int:
    return manager.said.count("watchdog")


def test_the_watchdog_is_fed_as_long_as_the_loop_looks() -> None:
    async def story() -> None:
        clock = VirtualClock()
        machine, manager, pulse = machine_on(MemoryVolume(clock), clock)
        async with machine.on():
            feeding = asyncio.ensure_future(pulse.run())
            await asyncio.sleep(61)
            feeding.cancel()
        assert beats(manager) in (5, 6)
        assert manager.said[0] == "status watching: 0 checkpoints to send"

    run_virtual(story())


def test_a_loop_that_hangs_is_not_kept_alive_by_the_rest_of_the_daemon() -> None:
    async def story() -> None:
        clock = VirtualClock()
        disk = HangingDisk(clock)
        machine, manager, pulse = machine_on(disk, clock)
        async with machine.on():
            feeding = asyncio.ensure_future(pulse.run())
            await asyncio.sleep(35)
            disk.hangs = True
            await asyncio.sleep(40)
            assert disk.hung == 1
            fed = beats(manager)
            await asyncio.sleep(300)
            assert beats(manager) == fed
            feeding.cancel()

    run_virtual(story())


def test_a_slow_disk_does_not_end_the_daemon() -> None:
    async def story() -> None:
        clock = VirtualClock()
        machine, manager, pulse = machine_on(MemoryVolume(clock, latency_seconds=20), clock)
        async with machine.on():
            feeding = asyncio.ensure_future(pulse.run())
            await asyncio.sleep(600)
            feeding.cancel()
        assert beats(manager) >= 15  # at least every 40 s of the 60 that are allowed

    run_virtual(story())
