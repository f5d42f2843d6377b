"""Many small files of one checkpoint, sent in rows: what comes of it in the bucket when something is out of the ordinary."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from spotguard.core.checkpoint import FileStat, LocalFile
from spotguard.ports.bulk_send import MOST_BYTES, Offered
from spotguard.ports.part_transfer import SentObject
from spotguard.services.upload.errand import Errand
from spotguard.services.upload.part_slots import PartSlots
from spotguard.services.upload.small_files import SmallFiles, rows
from spotguard.services.upload.throughput import Throughput
from tests.support.faulty_store import Fault, Faults, FaultyTransfer
from tests.support.machine import KEYS, Machine, save_hf
from tests.support.memory_store import Link, MemoryBucket, MemoryTransfer
from tests.support.memory_volume import MemoryVolume
from tests.support.virtual_time import VirtualClock, run_virtual

FILES = 100


class World:
    def __init__(self, link: Link | None = None) -> None:
        self.clock = VirtualClock()
        self.bucket = MemoryBucket(self.clock)
        self.faults = Faults()
        self.machine = Machine(
            self.bucket, clock=self.clock, transfer=FaultyTransfer(MemoryTransfer(self.bucket, link or Link()), self.faults)
        )
        self.disk = self.machine.disk

    def save(self) -> str:
        for number in range(FILES):
            self.disk.write(f"checkpoint-100/rank-{number:03}.bin", self.content(number))
        name = save_hf(self.disk, 100)
        self.machine.guard.schedule.hint(name)
        return name

    def content(self, number: int) -> bytes:
        return f"rank {number}".encode() * 100

    def committed(self) -> Mapping[str, bytes]:
        """By path, what the one manifest names."""
        (manifest,) = self.machine.manifests().values()
        return {file["path"]: self.bucket.objects[KEYS.absolute(file["key"])].body for file in manifest["files"]}

    def puts(self) -> Counter[str]:
        return Counter(key for verb, key in self.bucket.log if verb == "put" and ".spotguard" not in key)


def test_each_file_is_written_once_and_under_its_own_name() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            await world.machine.state_of(world.save(), "committed")
            assert all(world.committed()[f"rank-{n:03}.bin"] == world.content(n) for n in range(FILES))
            assert set(world.puts().values()) == {1}
            assert len(world.puts()) == len(world.committed()) > FILES
            assert world.disk.open_count == 0

    run_virtual(story())


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.LOST_ANSWER, Fault.CONFLICT])
def test_what_fails_in_a_row_is_sent_alone_and_what_came_of_a_lost_answer_is_ours(fault: Fault) -> None:
    async def story() -> None:
        world = World()
        world.faults.plan("put", *[Fault.NONE, fault] * 8)
        async with world.machine.on():
            await world.machine.state_of(world.save(), "committed")
            assert world.faults.fired[fault] == 8
            assert all(world.committed()[f"rank-{n:03}.bin"] == world.content(n) for n in range(FILES))
            if fault is not Fault.CONFLICT:
                assert not [key for key in world.puts() if "@" in key]

    run_virtual(story())


def test_a_name_that_somebody_else_has_written_is_passed_over() -> None:
    async def story() -> None:
        world = World()
        taken = KEYS.data("checkpoint-100", "rank-007.bin", is_directory=True)
        world.bucket.write("put", taken, b"not ours", {}, only_new=True)
        async with world.machine.on():
            await world.machine.state_of(world.save(), "committed")
            assert world.bucket.objects[taken].body == b"not ours"
            assert world.committed()["rank-007.bin"] == world.content(7)

    run_virtual(story())


def test_a_file_that_is_rewritten_while_its_row_is_on_the_way_is_committed_as_it_is_now() -> None:
    async def story() -> None:
        world = World(Link(50_000))  # some 100 kB: two seconds
        async with world.machine.on():
            name = world.save()
            async with asyncio.timeout(60):
                while not world.puts():  # noqa: ASYNC110 - a bucket tells nobody
                    await asyncio.sleep(0.05)
            rewritten = next(n for n in range(FILES) if not any(f"rank-{n:03}" in key for key in world.puts()))
            world.disk.write(f"checkpoint-100/rank-{rewritten:03}.bin", b"another version")
            world.machine.guard.schedule.hint(name)
            await world.machine.state_of(name, "committed")
            assert world.committed()[f"rank-{rewritten:03}.bin"] == b"another version"

    run_virtual(story())


def test_a_store_that_does_not_answer_as_rows_want_it_is_asked_for_few_of_them_and_gets_all_files() -> None:
    class Mute:
        asked = 0

        async def send_all(self, offered: Sequence[Offered], *, metadata: Mapping[str, str]) -> Sequence[SentObject | None]:
            self.asked += 1
            return [None] * len(offered)

    async def story() -> None:
        world, mute = World(), Mute()
        world.machine = Machine(world.bucket, clock=world.clock, disk=world.disk, bulk=mute)
        async with world.machine.on():
            for number in range(FILES, 40 * FILES):
                world.disk.write(f"checkpoint-100/rank-{number:04}.bin", world.content(number))
            await world.machine.state_of(world.save(), "committed", within=600)
            assert len(world.committed()) > 40 * FILES
            assert 3 <= mute.asked < 40

    run_virtual(story())


def test_rows_hold_neither_empty_nor_large_files() -> None:
    def file(number: int, size: int) -> LocalFile:
        return LocalFile(f"f{number}", f"f{number}", FileStat(size, 0, 0, 1, number, 0o644))

    files = [file(0, MOST_BYTES + 1), *(file(n, MOST_BYTES) for n in range(1, 72)), file(72, 0)]
    made = list(rows(files))
    assert [f for row in made for f in row if len(row) == 1] == [files[0], files[72]]
    assert sorted(f.path for row in made for f in row) == sorted(f.path for f in files)
    assert [len(row) for row in made] == [1, 64, 1, 7]


class Asked:
    """Answers no row before it may; `order` are the first keys of the rows."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.at_once = self.most_at_once = 0
        self.may_answer = asyncio.Event()

    async def send_all(self, offered: Sequence[Offered], *, metadata: Mapping[str, str]) -> Sequence[SentObject | None]:
        self.order.append(offered[0].key)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.may_answer.wait()
        self.at_once -= 1
        return [None] * len(offered)


async def row(disk: MemoryVolume, key: str, rank: int) -> list[Errand]:
    disk.write(key, b"x")
    return [Errand(await disk.hold(key), 1, key, {}, lambda: (rank,))]


def test_one_row_goes_at_a_time_and_the_best_rank_of_those_that_wait_is_next() -> None:
    async def story() -> None:
        bulk, disk, clock = Asked(), MemoryVolume(VirtualClock()), VirtualClock()
        small = SmallFiles(bulk, PartSlots(8), Throughput(clock))
        going = [asyncio.ensure_future(small.send(await row(disk, key, rank))) for key, rank in [("first", 5), ("old", 9), ("newest", 0)]]
        await asyncio.sleep(1)
        bulk.may_answer.set()
        await asyncio.gather(*going)
        assert bulk.order == ["first", "newest", "old"]
        assert bulk.most_at_once == 1
        disk.close()

    run_virtual(story())


def test_rows_that_wait_while_others_go_in_vain_go_alone_at_once() -> None:
    async def story() -> None:
        bulk, disk = Asked(), MemoryVolume(VirtualClock())
        small = SmallFiles(bulk, PartSlots(8), Throughput(VirtualClock()))
        going = [asyncio.ensure_future(small.send(await row(disk, f"row-{number}", 0))) for number in range(8)]
        await asyncio.sleep(1)
        bulk.may_answer.set()
        assert await asyncio.gather(*going) == [[None]] * 8
        assert len(bulk.order) == 3
        disk.close()

    run_virtual(story())
