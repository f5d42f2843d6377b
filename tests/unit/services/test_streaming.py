"""A file that is still being written is sent meanwhile; what is committed is what it is at its end, always."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from tests.support.machine import KEYS
from tests.support.virtual_time import run_virtual
from tests.unit.services.streaming_world import FILE, PART, World, content


def test_a_file_is_sent_while_it_is_written_and_at_its_end_only_the_rest_goes() -> None:
    async def story() -> None:
        world = World()
        whole = content()
        async with world.machine.on():
            with capture_logs() as logs:
                await world.grow(f"checkpoint-1/{FILE}", whole)
                before = world.sent()
                assert before > 0.6 * len(whole)
                world.close(f"checkpoint-1/{FILE}")
                name = world.finish(1)
                await world.machine.state_of(name, "committed", within=10)
                await asyncio.sleep(1)
        world.assert_committed(name)
        assert not world.bucket.uploads
        assert world.objects_of(f"{name}/{FILE}") == [KEYS.absolute(f"{name}/{FILE}")]
        (line,) = [line for line in logs if line["event"] == "checkpoint.committed"]
        assert line["sent_bytes"] == line["size_bytes"] == world.sent(), "bytes were sent, or counted, twice"
        assert 0.6 * len(whole) < line["streamed_bytes"] <= len(whole)
        assert line["reused_bytes"] == 0
        world.disk.close()

    run_virtual(story())


def test_the_status_tells_how_far_a_file_has_come_that_is_being_written_and_what_is_left_at_its_end() -> None:
    async def story() -> None:
        world = World()
        whole = content(20)
        async with world.machine.on():
            writing = asyncio.ensure_future(world.grow(f"checkpoint-1/{FILE}", whole))
            await asyncio.sleep(12)
            (shown,) = world.machine.guard.replicator.view.value.checkpoints
            assert shown.state.value == "writing"
            assert 4 * PART < shown.uploaded_bytes < shown.bytes < 13 * PART
            await writing
            world.link.set_cap(PART / 100)
            world.close(f"checkpoint-1/{FILE}")
            name = world.finish(1)
            await world.machine.guard.replicator.view.until(lambda view: bool(view.uncommitted))
            await asyncio.sleep(1)
            assert 0 < world.machine.guard.replicator.view.value.backlog_bytes < 5 * PART
            world.link.set_cap(None)
            await world.machine.state_of(name, "committed", within=10)
            assert world.machine.guard.throughput.total_bytes == world.sent()
        world.disk.close()

    run_virtual(story())


def _patched(world: World, path: str, whole: bytes) -> bytes:
    changed = bytearray(whole)
    changed[8:12] = b"    "
    world.disk.write(path, bytes(changed))
    return bytes(changed)


def _rewritten(world: World, path: str, whole: bytes) -> bytes:
    other = content(12, seed=1)
    world.disk.write(path, other)
    return other


def _shrunk(world: World, path: str, whole: bytes) -> bytes:
    shorter = content(5)
    world.disk.write(path, shorter)
    return shorter


def _shrunk_to_one_part(world: World, path: str, whole: bytes) -> bytes:
    shorter = content(0.5)
    world.disk.write(path, shorter)
    return shorter


def _replaced(world: World, path: str, whole: bytes) -> bytes:
    other = content(12, seed=2)
    world.disk.write(path, other, replace=True)
    return other


def _set_back(world: World, path: str, whole: bytes) -> bytes:
    """Other bytes of the same number, under the time that it had before."""
    other = content(12, seed=3)
    world.disk.write(path, other, mtime_ns=1_600_000_000_000_000_000)
    return other


def _changed_in_the_middle(world: World, path: str, whole: bytes) -> bytes:
    changed = bytearray(whole)
    changed[5 * PART] ^= 1
    world.disk.write(path, bytes(changed))
    return bytes(changed)


@pytest.mark.parametrize("again", [_patched, _rewritten, _shrunk, _shrunk_to_one_part, _replaced, _set_back, _changed_in_the_middle])
@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_committed_is_the_file_as_it_is_at_its_end(again: Callable[[World, str, bytes], bytes], at_once: bool) -> None:
    async def story() -> None:
        world = World()
        whole, path = content(), f"checkpoint-1/{FILE}"
        async with world.machine.on():
            await world.grow(path, whole)
            assert world.sent() > 0.6 * len(whole), "nothing was sent ahead: this proves nothing"
            if not at_once:
                await asyncio.sleep(0.7)
            final = again(world, path, whole)
            name = await world.ends_committed(path)
        world.assert_committed(name, {FILE: final})
        assert world.sent() <= len(whole) + len(final) + 2 * PART
        assert not world.bucket.uploads
        world.disk.close()

    run_virtual(story())


@pytest.mark.parametrize("again", [_patched, _changed_in_the_middle])
def test_only_the_parts_that_were_written_over_are_sent_again(again: Callable[[World, str, bytes], bytes]) -> None:
    async def story() -> None:
        world = World()
        whole, path = content(), f"checkpoint-1/{FILE}"
        async with world.machine.on():
            await world.grow(path, whole)
            again(world, path, whole)
            name = await world.ends_committed(path)
            await asyncio.sleep(1)
            total = sum(one["total_bytes"] for one in world.machine.manifests().values())
            assert world.sent() == total + PART
        world.assert_committed(name)
        world.disk.close()

    run_virtual(story())


def test_a_file_that_is_begun_anew_in_the_middle_is_committed_as_it_is_at_its_end_and_its_kind_is_not_sent_ahead_again() -> None:
    async def story() -> None:
        world = World()
        first, second = content(12, seed=1), content(12, seed=2)
        async with world.machine.on():
            with capture_logs() as logs:
                await world.grow(f"checkpoint-1/{FILE}", first[: 8 * PART])
                await world.grow(f"checkpoint-1/{FILE}", second)
                world.close(f"checkpoint-1/{FILE}")
                name = world.finish(1)
                await world.machine.state_of(name, "committed", within=60)
                before = world.sent()
                await world.grow(f"checkpoint-2/{FILE}", first)
                assert world.sent() - before < PART
                world.close(f"checkpoint-2/{FILE}")
                await world.machine.state_of(world.finish(2), "committed", within=60)
        assert [line["kind"] for line in logs if line["event"] == "stream.off"] == [f"checkpoint-#/{FILE}"]
        world.assert_committed("checkpoint-1")
        world.assert_committed("checkpoint-2")
        assert not world.bucket.uploads
        world.disk.close()

    run_virtual(story())
