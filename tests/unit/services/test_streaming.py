"""A file that is still being written is sent meanwhile; what is committed is what it is at its end, always."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from spotguard.core import streaming
from spotguard.core.claim import ClaimPhase
from spotguard.core.notice import NoticeKind
from tests.support.faulty_store import Fault, Faults, FaultyTransfer
from tests.support.machine import KEYS, Machine, hf_files, safetensors
from tests.support.memory_metadata import MemoryMetadataService
from tests.support.memory_store import Link, MemoryBucket, MemoryTransfer
from tests.support.memory_volume import MemoryVolume
from tests.support.virtual_time import VirtualClock, run_virtual

PART = 1 << 20
FILE = "model.safetensors"


def content(parts: float = 12, seed: int = 0) -> bytes:
    return safetensors(random.Random(seed).randbytes(int(parts * PART)))


class World:
    """A machine whose trainer writes a big file at half the rate of the link."""

    def __init__(self, *, rate: float = 2 * PART, disk: dict[str, Any] | None = None, imds: bool = False, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.bucket = MemoryBucket(self.clock, min_part_bytes=0)
        self.disk = MemoryVolume(self.clock, **(disk or {}))
        self.link = Link(rate)
        self.faults = Faults()
        self.imds = MemoryMetadataService(self.clock.wall) if imds else None
        self.settings: dict[str, Any] = {"part_bytes": PART} | settings
        self.machine = self.boot()

    def boot(self) -> Machine:
        transfer = FaultyTransfer(MemoryTransfer(self.bucket, self.link), self.faults)
        self.machine = Machine(
            self.bucket, clock=self.clock, disk=self.disk, link=self.link, transfer=transfer, metadata=self.imds, **self.settings
        )
        return self.machine

    def hint(self, path: str, *, closed: bool = False) -> None:
        self.machine.guard.schedule.hint(path, closed)

    async def grow(self, path: str, whole: bytes, *, start: int = 0, seconds_per_part: float = 1.0) -> None:
        """Append until it is whole."""
        if not start:
            self.disk.write(path, b"")
            self.hint(path)
        for end in range(start + PART // 2, len(whole) + PART // 2, PART // 2):
            await asyncio.sleep(seconds_per_part / 2)
            self.disk.write(path, whole[:end])

    def close(self, path: str) -> None:
        self.hint(path, closed=True)

    def finish(self, step: int, *, stage: str = "") -> str:
        """All that comes with the big file, the marker last."""
        name = f"{stage}/checkpoint-{step}" if stage else f"checkpoint-{step}"
        for path, small in hf_files(step, size=100).items():
            if path != FILE:
                self.disk.write(f"{name}/{path}", small)
        self.hint(name)
        return name

    def sent(self) -> int:
        return self.link.carried_bytes

    def assert_committed(self, name: str, files: Mapping[str, bytes] | None = None) -> None:
        manifest = [one for one in self.machine.manifests().values() if one["name"] == name][-1]
        for file in manifest["files"]:
            wanted = (files or {}).get(file["path"]) or self.disk.content(f"{name}/{file['path']}")
            assert self.bucket.objects[KEYS.absolute(file["key"])].body == wanted, file["path"]

    def objects_of(self, path: str) -> list[str]:
        return [key for key in self.bucket.objects if key.startswith(KEYS.absolute(path))]


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
            world.close(path)
            name = world.finish(1)
            await world.machine.state_of(name, "committed", within=60)
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
            world.close(path)
            name = world.finish(1)
            await world.machine.state_of(name, "committed", within=60)
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
            world.close(path)
            name = world.finish(1)
            await world.machine.state_of(name, "committed", within=60)
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
            world.close(path)
            name = world.finish(1)
            await world.machine.state_of(name, "committed", within=60)
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
            world.close(path)
            name = world.finish(1)
            await world.machine.state_of(name, "committed", within=60)
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
            world.close(path)
            name = world.finish(1)
            await world.machine.state_of(name, "committed", within=60)
        world.assert_committed(name)
        world.disk.close()

    run_virtual(story())


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
            world.close(path)
            name = world.finish(1)
            await world.machine.state_of(name, "committed", within=60)
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
            world.close(path)
            name = world.finish(1)
            await world.machine.state_of(name, "committed", within=120)
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
            world.close(path)
            name = world.finish(1)
            await world.machine.state_of(name, "committed", within=120)
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
            world.close(path)
            name = world.finish(1)
            await world.machine.state_of(name, "committed", within=60)
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
