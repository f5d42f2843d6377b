"""A file that is sent while it is written, over kills, faults, drains and other writers."""

from __future__ import annotations

import asyncio

import pytest

from spotguard.core import streaming
from spotguard.core.claim import ClaimPhase
from spotguard.core.notice import NoticeKind
from tests.support.faulty_store import Fault
from tests.support.machine import KEYS, Machine
from tests.support.virtual_time import run_virtual
from tests.unit.services.streaming_world import FILE, PART, World, content


def test_after_a_kill_the_next_life_goes_on_with_what_was_sent_ahead() -> None:
    async def story() -> None:
        world = World()
        whole, path = content(20), f"checkpoint-1/{FILE}"
        async with world.machine.on():
            await world.grow(path, whole[: 10 * PART])
        first = world.sent()
        assert first > 5 * PART
        async with world.boot().on():
            await asyncio.sleep(1)
            await world.grow(path, whole, start=10 * PART)
            name = await world.ends_committed(path)
        world.assert_committed(name)
        assert world.sent() < len(whole) + 2 * PART
        assert not world.bucket.uploads
        world.disk.close()

    run_virtual(story())


def test_after_a_kill_a_file_that_was_finished_meanwhile_is_sent_from_where_it_was() -> None:
    async def story() -> None:
        world = World()
        whole, path = content(20), f"checkpoint-1/{FILE}"
        async with world.machine.on():
            await world.grow(path, whole[: 10 * PART])
        world.disk.write(path, whole)
        name = world.finish(1)
        async with world.boot().on():
            await world.machine.state_of(name, "committed", within=60)
        world.assert_committed(name)
        assert world.sent() < len(whole) + 2 * PART
        assert not world.bucket.uploads
        world.disk.close()

    run_virtual(story())


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.LOST_ANSWER, Fault.DENIED])
@pytest.mark.parametrize("verb", ["begin", "send_part"])
def test_a_fault_of_the_store_costs_bytes_at_most(verb: str, fault: Fault) -> None:
    async def story() -> None:
        world = World()
        whole, path = content(), f"checkpoint-1/{FILE}"
        world.faults.plan(verb, *[fault] * 4)
        async with world.machine.on():
            await world.grow(path, whole)
            name = await world.ends_committed(path, within=120)
        assert world.faults.fired[fault] > 0
        world.assert_committed(name)
        world.disk.close()

    run_virtual(story())


@pytest.mark.parametrize("closed", [True, False])
def test_an_upload_that_somebody_aborted_is_begun_anew(closed: bool) -> None:
    async def story() -> None:
        world = World()
        whole, path = content(), f"checkpoint-1/{FILE}"
        async with world.machine.on():
            await world.grow(path, whole if closed else whole[: 6 * PART])
            assert world.bucket.uploads
            world.bucket.uploads.clear()
            if not closed:
                await world.grow(path, whole, start=6 * PART)
            name = await world.ends_committed(path, within=120)
        world.assert_committed(name)
        assert not world.bucket.uploads
        world.disk.close()

    run_virtual(story())


def test_an_expired_credential_during_the_save_ends_in_a_commit_once_it_is_renewed() -> None:
    async def story() -> None:
        world = World()
        whole, path = content(20), f"checkpoint-1/{FILE}"
        async with world.machine.on():
            await world.grow(path, whole[: 6 * PART])
            world.faults.denied = True
            await world.grow(path, whole, start=6 * PART)
            world.close(path)
            name = world.finish(1)
            await asyncio.sleep(20)
            assert world.machine.states() == {name: "complete"}
            world.faults.denied = False
            await world.machine.state_of(name, "committed", within=120)
        world.assert_committed(name)
        world.disk.close()

    run_virtual(story())


def test_a_file_that_outgrows_ten_thousand_parts_is_cut_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "MAX_PARTS", 5)

    async def story() -> None:
        world = World()
        whole, path = content(), f"checkpoint-1/{FILE}"
        async with world.machine.on():
            await world.grow(path, whole)
            assert not world.bucket.uploads
            name = await world.ends_committed(path)
        world.assert_committed(name)
        world.disk.close()

    run_virtual(story())


def test_a_whole_checkpoint_goes_before_one_that_is_being_written() -> None:
    async def story() -> None:
        world = World(rate=PART)
        async with world.machine.on():
            writing = asyncio.ensure_future(world.grow(f"b/checkpoint-2/{FILE}", content(60)))
            await asyncio.sleep(20)
            began, before = world.clock.monotonic(), len(world.bucket.log)
            world.disk.write(f"a/checkpoint-1/{FILE}", content(10, seed=1))
            world.close(f"a/checkpoint-1/{FILE}")
            await world.machine.state_of(world.finish(1, stage="a"), "committed", within=60)
            assert world.clock.monotonic() - began < 10 + 8 + 3, "its parts shared the link with a file that is not whole"
            assert len(world.bucket.log) > before
            writing.cancel()
        world.disk.close()

    run_virtual(story())


def test_in_a_drain_the_link_is_left_to_the_whole_one_and_then_goes_to_the_save_that_is_being_written() -> None:
    async def story() -> None:
        world = World(rate=2 * PART, imds=True)
        assert world.imds is not None
        async with world.machine.on():
            writing = asyncio.ensure_future(world.grow(f"b/checkpoint-2/{FILE}", content(40)))
            await asyncio.sleep(20)
            world.disk.write(f"a/checkpoint-1/{FILE}", content(20, seed=1))
            name = world.finish(1, stage="a")
            world.imds.give(NoticeKind.TERMINATE, seconds=120)
            await asyncio.sleep(8)  # seen, and what was in flight has arrived or was broken off
            before = sum(key.startswith(KEYS.absolute("b/")) for _, key in world.bucket.log)
            await world.machine.state_of(name, "committed", within=60)
            assert sum(key.startswith(KEYS.absolute("b/")) for _, key in world.bucket.log) == before
            await writing
            world.close(f"b/checkpoint-2/{FILE}")
            ended = world.clock.monotonic()
            last = world.finish(2, stage="b")
            await world.machine.state_of(last, "committed", within=60)
            assert world.clock.monotonic() - ended < 10, "what was written before the notice was not sent while the rest was written"
        world.assert_committed("b/checkpoint-2")
        world.disk.close()

    run_virtual(story())


def test_on_a_network_filesystem_no_file_is_held_open_while_it_is_written() -> None:
    async def story() -> None:
        world = World(disk={"on_nfs": True})
        async with world.machine.on():
            await world.grow(f"checkpoint-1/{FILE}", content())
            assert world.sent() < PART
            assert world.disk.open_count == 0
        world.disk.close()

    run_virtual(story())


def test_a_daemon_that_is_stopped_ends_at_once_and_the_next_one_goes_on_with_what_it_has_sent() -> None:
    async def story() -> None:
        world = World(layout="hf-trainer")
        whole, path = content(20), f"checkpoint-1/{FILE}"
        async with world.machine.on() as daemon:
            await world.grow(path, whole[: 10 * PART])
            began = world.clock.monotonic()
            world.machine.life.stop()
            await daemon
            assert world.clock.monotonic() - began < 15  # the settle time, during which it counts as being written
        assert world.disk.open_count == 0
        (upload,) = world.bucket.uploads.values()
        assert len(upload.parts) > 5
        world.disk.write(path, whole)
        name = world.finish(1)
        async with world.boot().on():
            await world.machine.state_of(name, "committed", within=60)
        world.assert_committed(name)
        assert world.sent() < len(whole) + 3 * PART
        world.disk.close()

    run_virtual(story())


def test_who_is_overtaken_sends_nothing_more_of_a_file_that_grows() -> None:
    async def story() -> None:
        world = World(layout="hf-trainer")
        async with world.machine.on():
            writing = asyncio.ensure_future(world.grow(f"checkpoint-1/{FILE}", content(40)))
            await asyncio.sleep(10)
            assert world.sent() > 3 * PART
            other = Machine(world.bucket, clock=world.clock, name="i-2")
            async with other.on():
                await world.machine.guard.claim.state.until(lambda state: state.phase is ClaimPhase.FENCED)
                await asyncio.sleep(5)
                before = world.sent()
                await asyncio.sleep(30)
                assert world.sent() == before
                assert world.disk.open_count == 0
            writing.cancel()
        world.disk.close()

    run_virtual(story())


def test_more_files_than_can_be_held_open_are_sent_all_the_same() -> None:
    async def story() -> None:
        world = World(rate=50 * PART)
        paths = [f"model-{shard:05}-of-00040.safetensors" for shard in range(40)]
        async with world.machine.on():
            await asyncio.gather(*(world.grow(f"checkpoint-1/{path}", content(4, seed=at)) for at, path in enumerate(paths)))
            assert world.disk.open_count <= 16 + 8
            assert world.sent() > 16 * PART
            for path in paths:
                world.close(f"checkpoint-1/{path}")
            world.disk.write(f"checkpoint-1/{FILE}", content(0.1))
            name = world.finish(1)
            await world.machine.state_of(name, "committed", within=60)
        world.assert_committed(name)
        assert not world.bucket.uploads
        world.disk.close()

    run_virtual(story())
