"""A whole checkpoint reaches the bucket, a torn one never does."""

from __future__ import annotations

import asyncio

import pytest

from spotguard.core.exit_status import ExitStatus
from spotguard.core.retention import RetentionRule
from tests.support.machine import KEYS, Machine, hf_files, save_hf, torch_zip
from tests.support.memory_store import Link, MemoryBucket
from tests.support.memory_volume import MemoryVolume
from tests.support.virtual_time import VirtualClock, run_virtual


def test_a_whole_checkpoint_is_committed_with_every_byte() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        machine = Machine(bucket, clock=clock)
        async with machine.on():
            name = save_hf(machine.disk, 100, stage="sft")
            machine.guard.schedule.hint(name)
            await machine.state_of(name, "committed")
            (manifest,) = machine.manifests().values()
            assert manifest["name"] == "sft/checkpoint-100"
            assert manifest["complete_by"] == "marker"
            assert manifest["generation"] == 1
            for file in manifest["files"]:
                stored = bucket.objects[KEYS.absolute(file["key"])]
                assert stored.body == machine.disk.content(f"{name}/{file['path']}")
            assert {file["path"] for file in manifest["files"]} == set(hf_files(100))

    run_virtual(story())


def test_a_marked_checkpoint_is_committed_without_any_quiet_time() -> None:
    async def story() -> None:
        clock = VirtualClock()
        machine = Machine(MemoryBucket(clock), clock=clock)
        async with machine.on():
            await asyncio.sleep(5)
            name = save_hf(machine.disk, 100)
            machine.guard.schedule.hint(name)
            began = clock.monotonic()
            await machine.state_of(name, "committed")
            assert clock.monotonic() - began < 0.5

    run_virtual(story())


def test_a_torn_checkpoint_is_never_committed() -> None:
    async def story() -> None:
        clock = VirtualClock()
        machine = Machine(MemoryBucket(clock), clock=clock)
        async with machine.on():
            await _committed(machine, 100)
            for file, content in hf_files(200).items():
                if file != "trainer_state.json":
                    machine.disk.write(f"checkpoint-200/{file}", content)
            await asyncio.sleep(3600)
            assert machine.states() == {"checkpoint-100": "committed", "checkpoint-200": "writing"}
            assert len(machine.manifests()) == 1

    run_virtual(story())


def test_a_lost_event_costs_at_most_the_rescan_time() -> None:
    async def story() -> None:
        clock = VirtualClock()
        machine = Machine(MemoryBucket(clock), clock=clock)
        async with machine.on():
            await asyncio.sleep(40)
            name = save_hf(machine.disk, 100)
            await machine.state_of(name, "committed", within=31)

    run_virtual(story())


def test_a_restarted_daemon_sends_nothing_again() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        first = Machine(bucket, clock=clock)
        async with first.on():
            await _committed(first, 100)
        before = dict(bucket.objects)
        second = Machine(bucket, clock=clock, disk=first.disk)
        async with second.on():
            await second.state_of("checkpoint-100", "committed")
            await asyncio.sleep(120)
        data = {key for key in bucket.objects if "/.spotguard/" not in key and not key.endswith("last_sync.json")}
        assert {key: before[key].etag for key in data} == {key: bucket.objects[key].etag for key in data}
        assert len(first.manifests()) == 1

    run_virtual(story())


def test_a_file_rewritten_after_the_commit_makes_a_new_generation_under_a_new_key() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        machine = Machine(bucket, clock=clock)
        async with machine.on():
            machine.disk.write("ckpt.pt", torch_zip(b"one"))
            await machine.state_of("ckpt.pt", "committed")
            await asyncio.sleep(60)
            machine.disk.write("ckpt.pt", torch_zip(b"second"))
            await asyncio.sleep(60)
            generations = [(m["generation"], m["files"][0]["key"]) for m in machine.manifests().values()]
            assert generations == [(1, "ckpt.pt"), (2, "ckpt.pt@2")]
            assert bucket.objects[KEYS.absolute("ckpt.pt")].body == torch_zip(b"one")
            assert bucket.objects[KEYS.absolute("ckpt.pt@2")].body == torch_zip(b"second")

    run_virtual(story())


def test_a_folder_that_only_shrinks_is_left_alone() -> None:
    async def story() -> None:
        clock = VirtualClock()
        machine = Machine(MemoryBucket(clock), clock=clock)
        async with machine.on():
            await _committed(machine, 100)
            machine.disk.delete("checkpoint-100/optimizer.pt")
            await asyncio.sleep(120)
            assert len(machine.manifests()) == 1
            assert machine.states()["checkpoint-100"] == "committed"

    run_virtual(story())


def test_what_rotation_takes_away_while_it_is_sent_is_committed_all_the_same() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        machine = Machine(bucket, clock=clock, link=Link(1_000_000))
        async with machine.on():
            name = save_hf(machine.disk, 100, size=8_000_000)
            await machine.state_of(name, "uploading")
            await asyncio.sleep(1)
            machine.disk.delete(name)
            await machine.state_of(name, "committed", within=120)
            (manifest,) = machine.manifests().values()
            assert sum(len(bucket.objects[KEYS.absolute(f["key"])].body) for f in manifest["files"]) == manifest["total_bytes"]

    run_virtual(story())


def test_held_files_are_let_go_when_the_disk_needs_their_space() -> None:
    async def story() -> None:
        clock = VirtualClock()
        disk = MemoryVolume(clock, free=10_000_000)
        machine = Machine(MemoryBucket(clock), clock=clock, disk=disk, link=Link(1_000_000))
        async with machine.on():
            name = save_hf(machine.disk, 100, size=8_000_000)
            await machine.state_of(name, "uploading")
            await asyncio.sleep(1)
            machine.disk.delete(name)
            machine.guard.schedule.hint(name)
            await machine.state_of(name, "vanished", within=5)
            await asyncio.sleep(1)
            assert disk.open_count == 0

    run_virtual(story())


def test_the_middle_ones_of_more_than_two_are_superseded() -> None:
    async def story() -> None:
        clock = VirtualClock()
        machine = Machine(MemoryBucket(clock), clock=clock, link=Link(1_000_000))
        async with machine.on():
            save_hf(machine.disk, 100, size=20_000_000)
            await machine.state_of("checkpoint-100", "uploading")
            for step in (200, 300):
                await asyncio.sleep(2)
                machine.guard.schedule.hint(save_hf(machine.disk, step, size=20_000_000))
            await machine.state_of("checkpoint-200", "superseded")
            await machine.state_of("checkpoint-300", "committed", within=120)
            assert machine.states() == {"checkpoint-100": "committed", "checkpoint-200": "superseded", "checkpoint-300": "committed"}

    run_virtual(story())


def test_what_retention_took_out_of_the_bucket_is_not_sent_again_after_a_restart() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        rule = RetentionRule(keep_last=1)
        machine = Machine(bucket, clock=clock, retention=rule)
        async with machine.on():
            for step in (100, 200, 300):
                await _committed(machine, step)
                await asyncio.sleep(30)
            await asyncio.sleep(60)
        kept = sorted(bucket.objects)
        assert [manifest["name"] for manifest in machine.manifests().values()] == ["checkpoint-300"]
        again = Machine(bucket, clock=clock, disk=machine.disk, retention=rule)
        async with again.on() as daemon:
            await again.state_of("checkpoint-300", "committed")
            await again.state_of("checkpoint-200", "superseded")
            await asyncio.sleep(300)
            assert again.states() == {"checkpoint-100": "superseded", "checkpoint-200": "superseded", "checkpoint-300": "committed"}
            assert [key for key in sorted(bucket.objects) if "checkpoint-" in key] == [key for key in kept if "checkpoint-" in key]
            await _committed(again, 400)
            again.life.stop()
            assert await daemon is ExitStatus.DONE

    run_virtual(story())


def test_a_file_from_the_future_does_not_make_its_checkpoint_the_newest_for_ever() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        machine = Machine(bucket, clock=clock)
        async with machine.on():
            name = save_hf(machine.disk, 100)
            in_ten_years = int((clock.wall().timestamp() + 10 * 365 * 86400) * 1e9)
            machine.disk.write(f"{name}/config.json", b"{}", mtime_ns=in_ten_years)
            await machine.state_of(name, "committed", within=120)
            await asyncio.sleep(10)
            await _committed(machine, 200)
            assert machine.guard.committed.newest().name == "checkpoint-200"

    run_virtual(story())


def test_what_was_deleted_before_it_could_be_sent_has_vanished() -> None:
    async def story() -> None:
        clock = VirtualClock()
        machine = Machine(MemoryBucket(clock), clock=clock, link=Link(100_000))
        async with machine.on():
            save_hf(machine.disk, 100, size=5_000_000)
            await machine.state_of("checkpoint-100", "uploading")
            machine.guard.schedule.hint(save_hf(machine.disk, 200))
            await machine.state_of("checkpoint-200", "complete")
            machine.disk.delete("checkpoint-200")
            await machine.state_of("checkpoint-200", "vanished")

    run_virtual(story())


def test_loose_files_are_mirrored_and_indexed() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        machine = Machine(bucket, clock=clock)
        async with machine.on():
            machine.disk.write("training_state.json", b'{"epoch": 3}')
            machine.disk.write("notes/readme.txt", b"hello")
            await asyncio.sleep(60)
            assert bucket.objects["run1/training_state.json"].body == b'{"epoch": 3}'
            assert bucket.objects["run1/notes/readme.txt"].body == b"hello"
            assert b"notes/readme.txt" in bucket.objects["run1/.spotguard/loose.json"].body

    run_virtual(story())


def test_a_loose_file_never_overwrites_what_is_not_ours() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        bucket.write("put", "run1/notes.txt", b"somebody else's", {}, only_new=False)
        machine = Machine(bucket, clock=clock)
        async with machine.on():
            machine.disk.write("notes.txt", b"mine")
            await asyncio.sleep(60)
            assert bucket.objects["run1/notes.txt"].body == b"somebody else's"
            assert bucket.objects["run1/notes.txt@2"].body == b"mine"

    run_virtual(story())


async def _committed(machine: Machine, step: int) -> None:
    machine.guard.schedule.hint(save_hf(machine.disk, step))
    await machine.state_of(f"checkpoint-{step}", "committed")


def test_how_long_a_save_takes_is_seen_also_where_one_file_is_all_of_it() -> None:
    async def story() -> None:
        clock = VirtualClock()
        machine = Machine(MemoryBucket(clock), clock=clock)
        async with machine.on():
            for step in (1, 2):  # the second is written over the first
                for size in range(1, 21):
                    machine.disk.write("pytorch.bin", bytes([step]) * size * 1000)
                    machine.guard.schedule.hint("pytorch.bin")
                    await asyncio.sleep(1)
                await asyncio.sleep(120)
                assert machine.states() == {"pytorch.bin": "committed"}
                assert machine.report.status().exposure.save_seconds_estimate == pytest.approx(19, abs=1)

    run_virtual(story())


def test_an_old_file_that_was_copied_into_a_checkpoint_does_not_make_the_save_long() -> None:
    async def story() -> None:
        clock = VirtualClock()
        machine = Machine(MemoryBucket(clock), clock=clock)
        await asyncio.sleep(100_000)
        save_hf(machine.disk, 100, size=100_000)
        machine.disk.write("checkpoint-100/tokenizer.json", b"{}", mtime_ns=int((clock.wall().timestamp() - 90_000) * 1e9))
        async with machine.on():
            await machine.state_of("checkpoint-100", "committed")
            assert (machine.report.status().exposure.save_seconds_estimate or 0) < 1

    run_virtual(story())


def test_a_save_that_was_not_seen_being_written_took_as_long_as_its_own_files_tell() -> None:
    async def story() -> None:
        clock = VirtualClock()
        machine = Machine(MemoryBucket(clock), clock=clock)
        await asyncio.sleep(1000)
        now = clock.wall().timestamp()
        for step, ended in ((100, 500), (200, 100)):
            for n, (name, content) in enumerate(hf_files(step).items()):
                machine.disk.write(f"checkpoint-{step}/{name}", content, mtime_ns=int((now - ended - 12 + 2 * n) * 1e9))
        machine.disk.write("checkpoint-200/tokenizer.json", b"{}", mtime_ns=int((now - 700) * 1e9))
        async with machine.on():
            await machine.state_of("checkpoint-200", "committed")
            await machine.state_of("checkpoint-100", "committed")
            assert machine.report.status().exposure.save_seconds_estimate == pytest.approx(12, abs=6)

    run_virtual(story())


@pytest.mark.parametrize("latency", [0.01, 0.05, 0.2, 0.5, 1.0])
def test_what_a_new_daemon_finds_committed_is_not_committed_again_however_slow_the_disk(latency: float) -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        machine = Machine(bucket, clock=clock)
        async with machine.on():
            for step in (100, 200, 300):
                await _committed(machine, step)
        again = Machine(bucket, clock=clock, disk=machine.disk)
        again.disk.latency_seconds = latency
        async with again.on():
            await asyncio.sleep(90)
            assert again.states() == {f"checkpoint-{step}": "committed" for step in (100, 200, 300)}
        assert len(again.manifests()) == 3

    run_virtual(story())
