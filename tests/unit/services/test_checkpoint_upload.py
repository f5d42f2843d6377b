"""The files of one checkpoint on their way."""

from __future__ import annotations

import asyncio

import pytest

from spotguard.core.checkpoint import LocalFile
from spotguard.services.upload.checkpoint_upload import CheckpointUpload
from tests.support.machine import Machine
from tests.support.memory_store import Link, MemoryBucket
from tests.support.virtual_time import VirtualClock, run_virtual


class World:
    """A file of five parts on a link that takes a second for each."""

    def __init__(self) -> None:
        clock = VirtualClock()
        self.bucket = MemoryBucket(clock)
        self.machine = Machine(self.bucket, clock=clock, link=Link(1000), part_bytes=1000)
        self.disk = self.machine.disk
        self.content = bytes(range(250)) * 20
        self.disk.write("x/a.bin", self.content)
        self.upload = CheckpointUpload(self.machine.guard.replicator._dispatcher._tools, "x", is_directory=True, rank=lambda: (0,))

    async def send(self) -> asyncio.Task[None]:
        """In the middle of it."""
        (file,) = [LocalFile("a.bin", path, stat) for path, stat in (await self.disk.scan()).files.items()]
        sending = asyncio.ensure_future(self.upload.send([file]))
        await asyncio.sleep(2.5)
        assert not sending.done()
        assert self.disk.open_count == 1
        return sending


def test_a_file_that_is_let_go_while_it_is_read_is_read_to_its_end_and_closed_then() -> None:
    async def story() -> None:
        world = World()
        sending = await world.send()
        world.upload.let_go()
        assert world.disk.open_count == 1
        await sending
        assert world.bucket.objects["run1/x/a.bin"].body == world.content
        assert world.disk.open_count == 0

    run_virtual(story())


def test_a_file_that_was_let_go_is_closed_when_its_reader_is_stopped() -> None:
    async def story() -> None:
        world = World()
        sending = await world.send()
        world.upload.let_go()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert world.disk.open_count == 0

    run_virtual(story())


def test_a_file_whose_reader_is_stopped_stays_open_until_it_is_let_go() -> None:
    async def story() -> None:
        world = World()
        sending = await world.send()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert world.disk.open_count == 1
        world.upload.let_go()
        assert world.disk.open_count == 0

    run_virtual(story())


def test_a_file_that_two_open_at_once_is_held_once() -> None:
    async def story() -> None:
        world = World()
        (file,) = [LocalFile("a.bin", path, stat) for path, stat in (await world.disk.scan()).files.items()]
        sending = asyncio.ensure_future(world.upload.send([file]))
        await world.upload.hold([file], 10)
        await asyncio.sleep(2.5)
        assert world.disk.open_count == 1
        await sending
        assert world.disk.open_count == 0

    run_virtual(story())
