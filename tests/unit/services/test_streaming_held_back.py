"""What is still being written and is not sent meanwhile, or is given up: it would be for nothing."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from tests.support.machine import KEYS
from tests.support.virtual_time import run_virtual
from tests.unit.services.streaming_world import FILE, PART, World, content


def test_a_file_of_which_most_was_written_over_has_its_kind_sent_only_when_it_is_whole() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            await world.grow(f"checkpoint-1/{FILE}", content())
            world.disk.write(f"checkpoint-1/{FILE}", content(seed=1))
            world.close(f"checkpoint-1/{FILE}")
            await world.machine.state_of(world.finish(1), "committed", within=60)
            before = world.sent()
            await world.grow(f"checkpoint-2/{FILE}", content(seed=2))
            assert world.sent() - before < PART
        world.disk.close()

    run_virtual(story())


def test_a_file_that_is_written_over_at_each_save_is_not_sent_ahead() -> None:
    async def story() -> None:
        world = World(settle_seconds=1.0)
        async with world.machine.on():
            await world.grow("ckpt.pt", content())
            assert world.sent() < PART
            world.close("ckpt.pt")
        world.disk.close()

    run_virtual(story())


def test_a_file_that_was_committed_and_is_written_again_is_not_sent_ahead() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            await world.grow(f"checkpoint-1/{FILE}", content())
            world.close(f"checkpoint-1/{FILE}")
            await world.machine.state_of(world.finish(1), "committed", within=60)
            before = world.sent()
            await world.grow(f"checkpoint-1/{FILE}", content(seed=1))
            assert world.sent() - before < PART
        world.disk.close()

    run_virtual(story())


def test_space_that_is_reserved_and_not_written_is_not_sent() -> None:
    async def story() -> None:
        world = World()
        whole, path = content(), f"checkpoint-1/{FILE}"
        async with world.machine.on():
            world.disk.write(path, b"")
            world.hint(path)
            await asyncio.sleep(0.5)
            for _ in range(10):
                world.disk.write(path, bytes(len(whole)))
                world.disk.dig(path, (0, len(whole)))
                await asyncio.sleep(0.5)
            assert world.sent() < PART
            for end in range(PART, len(whole) + PART, PART):
                world.disk.write(path, whole[:end] + bytes(max(0, len(whole) - end)))
                world.disk.dig(path, (end, len(whole)))
                await asyncio.sleep(1)
            assert world.sent() > 0.6 * len(whole)
            name = await world.ends_committed(path)
        world.assert_committed(name)
        assert world.sent() < 1.2 * len(whole)
        world.disk.close()

    run_virtual(story())


def test_zeros_that_no_filesystem_tells_from_data_cost_no_more_than_the_file_again() -> None:
    async def story() -> None:
        world = World()
        whole, path = content(), f"checkpoint-1/{FILE}"
        async with world.machine.on():
            world.disk.write(path, b"")
            world.hint(path)
            for end in range(PART, len(whole) + PART, PART):
                await asyncio.sleep(1)
                world.disk.write(path, whole[:end] + bytes(max(0, len(whole) - end)))
            name = await world.ends_committed(path)
        world.assert_committed(name)
        assert world.sent() < 2.2 * len(whole)
        world.disk.close()

    run_virtual(story())


def test_a_file_that_begins_like_a_committed_one_is_not_sent_but_copied() -> None:
    async def story() -> None:
        world = World()
        whole = content()
        async with world.machine.on():
            for step in (1, 2):
                before = world.sent()
                await world.grow(f"checkpoint-{step}/{FILE}", whole)
                world.close(f"checkpoint-{step}/{FILE}")
                await world.machine.state_of(world.finish(step), "committed", within=60)
            assert world.sent() - before < PART
        world.assert_committed("checkpoint-2")
        world.disk.close()

    run_virtual(story())


def test_however_many_sizes_are_known_the_beginning_of_a_growing_file_is_read_once() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            for number, parts in enumerate((0.3, 0.5, 0.7, 0.9)):
                world.disk.write(f"checkpoint-1/shard-{number}.bin", content(parts, seed=number))
            world.disk.write(f"checkpoint-1/{FILE}", content(0.8, seed=8))
            await world.machine.state_of(world.finish(1), "committed", within=60)
            before = world.disk.summed_bytes
            await world.grow(f"checkpoint-2/{FILE}", content(seed=9))
            assert world.disk.summed_bytes - before < PART
            assert world.bucket.uploads
        world.disk.close()

    run_virtual(story())


def test_a_writer_that_pauses_has_no_half_file_sent_as_a_whole_one() -> None:
    async def story() -> None:
        world = World(layout="hf-trainer")
        whole, path = content(), f"checkpoint-1/{FILE}"
        async with world.machine.on():
            await world.grow(path, whole[: 6 * PART])
            await asyncio.sleep(60)
            assert world.objects_of(path) == []
            await world.grow(path, whole, start=6 * PART)
            name = await world.ends_committed(path)
        assert world.objects_of(path) == [KEYS.absolute(path)]
        world.assert_committed(name)
        world.disk.close()

    run_virtual(story())


def test_of_a_file_that_is_deleted_while_it_is_written_nothing_stays_behind() -> None:
    async def story() -> None:
        world = World(layout="hf-trainer")
        async with world.machine.on():
            await world.grow(f"checkpoint-1/{FILE}", content())
            assert world.bucket.uploads
            world.disk.delete("checkpoint-1")
            world.hint("checkpoint-1")
            await asyncio.sleep(2)
            assert not world.bucket.uploads
            assert world.disk.open_count == 0
            assert world.machine.states() == {}
        world.disk.close()

    run_virtual(story())


def test_what_nobody_writes_on_is_given_up_and_committed_all_the_same_if_it_is_written_on_after_all() -> None:
    async def story() -> None:
        world = World(layout="hf-trainer")
        whole, path = content(), f"checkpoint-1/{FILE}"
        async with world.machine.on():
            with capture_logs() as logs:
                await world.grow(path, whole[: 6 * PART])
                await asyncio.sleep(4)
                assert world.bucket.uploads
                await asyncio.sleep(3600)
                assert not world.bucket.uploads
                assert world.disk.open_count == 0
            assert not [line for line in logs if line["log_level"] in ("warning", "error")]
            await world.grow(path, whole, start=6 * PART)
            name = await world.ends_committed(path)
        world.assert_committed(name)
        world.disk.close()

    run_virtual(story())
