"""Trainers that write over the same file again and again, faster than an upload takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from spotguard.core.notice import NoticeKind
from spotguard.core.plan import GivenUpName
from spotguard.core.structure import Finding
from tests.support.machine import KEYS, Machine, torch_zip
from tests.support.memory_metadata import MemoryMetadataService
from tests.support.memory_store import Link, MemoryBucket
from tests.support.memory_volume import MemoryVolume
from tests.support.virtual_time import VirtualClock, run_virtual

SIZE = 6 << 20


def content(version: int, size: int = SIZE) -> bytes:
    return torch_zip(b"%06d" % version * (size // 6))


class World:
    """A link on which one version takes ten seconds, and a trainer that saves one every four."""

    def __init__(self, *, name: str = "ckpt.pt") -> None:
        self.clock = VirtualClock()
        self.bucket = MemoryBucket(self.clock)
        self.disk = MemoryVolume(self.clock)
        self.imds = MemoryMetadataService(self.clock.wall)
        self.machine = Machine(self.bucket, clock=self.clock, disk=self.disk, link=Link(bytes_per_second=SIZE / 10), metadata=self.imds)
        self.name = name
        self.saves = 0
        self.replace = False

    def save(self) -> None:
        self.saves += 1
        self.disk.write(self.name, content(self.saves), replace=self.replace)
        self.machine.guard.schedule.hint(self.name, True)

    async def train(self, every: float = 4.0) -> None:
        while True:
            self.save()
            await asyncio.sleep(every)

    @asynccontextmanager
    async def training(self, every: float = 4.0) -> AsyncIterator[asyncio.Future[None]]:
        async with self.machine.on():
            trainer = asyncio.ensure_future(self.train(every))
            try:
                yield trainer
            finally:
                trainer.cancel()

    def progress(self) -> float:
        """Of the upload under way."""
        record = self.machine.guard.ledger.get(self.name)
        if record is None or record.capture is None or record.upload is None:
            return 0.0
        return record.upload.uploaded_bytes(record.capture.checkpoint.files) / SIZE

    def committed(self) -> list[bytes]:
        """The content of each generation, as its manifest names it."""
        manifests = sorted(self.machine.manifests().values(), key=lambda manifest: manifest["generation"])
        return [self.bucket.objects[KEYS.absolute(manifest["files"][0]["key"])].body for manifest in manifests]


@pytest.mark.parametrize("shares_blocks", [True, False])
def test_a_file_that_is_rewritten_faster_than_it_is_sent_is_committed_again_and_again(shares_blocks: bool) -> None:
    async def story() -> None:
        world = World()
        world.disk.shares_blocks = shares_blocks
        async with world.training():
            await asyncio.sleep(120)
        found = world.committed()
        versions = [int(body[46:52]) for body in found]
        assert len(found) >= 5
        assert all(body == content(version) for body, version in zip(found, versions, strict=True))
        assert versions == sorted(set(versions))
        assert world.saves - versions[-1] <= 8

    run_virtual(story())


def test_only_the_first_upload_is_lost_because_nothing_of_such_a_file_goes_early() -> None:
    """The second begins when the first is lost, at the second save, and takes ten seconds from a copy."""

    async def story() -> None:
        world = World()
        async with world.training():
            await asyncio.sleep(16)
            assert world.committed() == [content(2)]

    run_virtual(story())


def test_a_file_that_is_replaced_by_a_rename_is_sent_to_its_end_without_any_copy() -> None:
    async def story() -> None:
        world = World(name="last.ckpt")
        world.replace, world.disk.free = True, 3 * SIZE // 2
        async with world.training():
            await asyncio.sleep(60)
        assert len(world.committed()) >= 4
        assert not any(held.private for held in world.disk.held)

    run_virtual(story())


def test_without_room_for_a_copy_it_is_committed_as_soon_as_the_trainer_pauses() -> None:
    async def story() -> None:
        world = World()
        world.disk.free = SIZE
        async with world.training() as trainer:
            await asyncio.sleep(60)
            assert world.committed() == []
            trainer.cancel()
            await asyncio.sleep(30)
            assert world.committed() == [content(world.saves)]
        assert not any(held.private for held in world.disk.held)

    run_virtual(story())


def test_a_crash_in_the_middle_of_a_rewrite_leaves_the_version_before_it_committed() -> None:
    async def story() -> None:
        world = World()
        async with world.training() as trainer:
            await asyncio.sleep(30)
            trainer.cancel()
            before, saved = len(world.committed()), world.saves
            world.disk.write("ckpt.pt", content(999)[: SIZE // 2])
            world.disk.findings["ckpt.pt"] = Finding(False, "has no zip end record")
            world.machine.guard.schedule.hint("ckpt.pt", True)
            await asyncio.sleep(60)
            found = world.committed()
            assert len(found) >= max(before, 2)
            assert all(body in {content(version) for version in range(1, saved + 1)} for body in found)
            assert world.machine.states() == {"ckpt.pt": "writing"}

    run_virtual(story())


def test_no_copy_is_left_open_when_the_trainer_is_done() -> None:
    async def story() -> None:
        world = World()
        async with world.training() as trainer:
            await asyncio.sleep(50)
            trainer.cancel()
            await asyncio.sleep(40)
            assert world.committed()[-1] == content(world.saves)
            assert any(held.private for held in world.disk.held)
            assert world.disk.open_count == 0

    run_virtual(story())


def test_a_copy_is_given_up_when_the_disk_needs_its_space() -> None:
    async def story() -> None:
        world = World()
        async with world.training() as trainer:
            await until(lambda: any(held.private and held._open for held in world.disk.held))
            world.save()
            world.disk.free = SIZE // 4
            world.machine.guard.replicator.look_now()
            await asyncio.sleep(1)
            assert not any(held.private and held._open for held in world.disk.held)
            trainer.cancel()
            await asyncio.sleep(60)
            assert world.committed()[-1] == content(world.saves)

    run_virtual(story())


@pytest.mark.parametrize(("seconds_left", "committed"), [(30, "both"), (16, "the newest"), (11, "the one under way")])
def test_in_a_drain_the_version_under_way_gives_way_only_where_that_lets_the_newest_fit(seconds_left: float, committed: str) -> None:
    """A version takes ten seconds, and the one under way has nine to go when the newest is saved and the notice comes."""

    async def story() -> None:
        world = World()
        async with world.training() as trainer:
            await until(lambda: len(world.committed()) == 2)
            await until(lambda: 0.05 < world.progress() < 0.2)
            trainer.cancel()
            world.save()
            world.imds.give(NoticeKind.TERMINATE, seconds=seconds_left + 5)
            await asyncio.sleep(seconds_left)
            found, newest = world.committed()[2:], content(world.saves)
        wanted = {"both": (2, True), "the newest": (1, True), "the one under way": (1, False)}[committed]
        assert (len(found), newest in found) == wanted

    run_virtual(story())


def test_what_lies_on_disk_is_sent_though_what_it_overtook_is_superseded() -> None:
    async def story() -> None:
        world = World()
        async with world.training() as trainer:
            records = world.machine.guard.ledger
            await world.machine.guard.replicator.view.until(lambda _: any(record.overtaken for record in records))
            trainer.cancel()
            newer = GivenUpName(world.name, "a newer one of its stage is committed")
            world.machine.guard.replicator._dispatcher._supersede(newer)
            await world.machine.state_of(world.name, "committed", within=60)
            (manifest,) = world.machine.manifests().values()
            key = KEYS.absolute(manifest["files"][0]["key"])
            assert world.bucket.objects[key].body == content(world.saves)

    run_virtual(story())


async def until(holds: Callable[[], bool], within: float = 60.0) -> None:
    """On virtual time."""
    for _ in range(int(within * 10)):
        if holds():
            return
        await asyncio.sleep(0.1)
    raise TimeoutError
