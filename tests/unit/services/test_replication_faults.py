"""What goes wrong under the reconcile loop: stores that fail, files that change, folders that go, loops that must not spin."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from spotguard.core import loose_survey
from spotguard.core.checkpoint import Tree
from spotguard.core.claim import ClaimPhase
from spotguard.core.exit_status import ExitStatus
from spotguard.core.loose import decode_index
from spotguard.core.notice import NoticeKind
from spotguard.core.status import DaemonState
from spotguard.ports.checkpoint_volume import CannotRead, Copying
from tests.support.faulty_store import Fault, Faults, FaultyStore, FaultyTransfer
from tests.support.machine import KEYS, Machine, hf_files, save_hf
from tests.support.memory_metadata import MemoryMetadataService
from tests.support.memory_store import Link, MemoryBucket, MemoryStore, MemoryTransfer
from tests.support.memory_trainer import MemoryTrainer
from tests.support.memory_volume import MemoryHeldFile, MemoryVolume
from tests.support.virtual_time import VirtualClock, run_virtual


class World:
    def __init__(self, *, link: Link | None = None, disk: MemoryVolume | None = None, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.bucket = MemoryBucket(self.clock)
        self.link = link or Link()
        self.faults = Faults()
        self.imds = MemoryMetadataService(self.clock.wall)
        self.machine = Machine(
            self.bucket,
            clock=self.clock,
            disk=disk or MemoryVolume(self.clock),
            link=self.link,
            metadata=self.imds,
            store=FaultyStore(MemoryStore(self.bucket, self.clock), self.faults),
            transfer=FaultyTransfer(MemoryTransfer(self.bucket, self.link), self.faults),
            **settings,
        )
        self.disk = self.machine.disk

    def save(self, step: int, size: int = 4000) -> str:
        name = save_hf(self.disk, step, size=size)
        self.machine.guard.schedule.hint(name)
        return name

    async def committed(self, step: int) -> None:
        await self.machine.state_of(self.save(step), "committed")

    async def looks_in(self, seconds: float) -> int:
        before = len(self.disk.scans)
        await asyncio.sleep(seconds)
        return len(self.disk.scans) - before


def test_a_lost_answer_at_the_manifest_is_no_second_generation() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            await world.committed(100)
            world.faults.plan("create", Fault.LOST_ANSWER, Fault.UNAVAILABLE)
            await world.machine.state_of(world.save(200), "committed")
            assert [m["generation"] for m in world.machine.manifests().values()] == [1, 1]

    run_virtual(story())


def test_what_is_committed_is_told_as_committed_while_the_note_of_it_is_on_its_way() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            await world.committed(100)
            world.faults.plan("replace", Fault.HANG)
            name = world.save(200)
            async with asyncio.timeout(60):
                while not world.faults.fired[Fault.HANG]:  # noqa: ASYNC110 - faults tell nobody
                    await asyncio.sleep(0.05)
            world.machine.guard.schedule.hint(name)
            await world.machine.state_of(name, "committed", within=5)
            world.faults.released.set()

    run_virtual(story())


def test_content_that_changes_after_a_lost_answer_gets_the_generation_after_it() -> None:
    async def story() -> None:
        world = World(settle_seconds=2.0)
        async with world.machine.on():
            await world.committed(100)
            world.disk.write("last.ckpt", b"one")
            await asyncio.sleep(0.5)
            world.faults.plan("create", Fault.LOST_ANSWER, *[Fault.UNAVAILABLE] * 3)
            async with asyncio.timeout(60):
                while not world.faults.fired[Fault.LOST_ANSWER]:  # noqa: ASYNC110 - faults tell nobody
                    await asyncio.sleep(0.1)
            world.disk.write("last.ckpt", b"two")
            world.machine.guard.schedule.hint("last.ckpt")
            await asyncio.sleep(60)
            told = [(m["generation"], m["files"][0]["key"]) for m in world.machine.manifests().values() if m["name"] == "last.ckpt"]
            assert told == [(1, "last.ckpt"), (2, "last.ckpt@2")]

    run_virtual(story())


@pytest.mark.parametrize("verb", ["put", "complete", "begin", "send_part"])
def test_a_lost_answer_at_any_write_ends_in_one_whole_commit(verb: str) -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            await world.committed(100)
            world.faults.plan(verb, Fault.LOST_ANSWER)
            await world.machine.state_of(world.save(200, size=12_000_000), "committed")
            assert world.faults.fired[Fault.LOST_ANSWER] == 1
            manifest = next(m for m in world.machine.manifests().values() if m["step"] == 200)
            for file in manifest["files"]:
                assert world.bucket.objects[KEYS.absolute(file["key"])].body == world.disk.content(f"checkpoint-200/{file['path']}")

    run_virtual(story())


def test_what_is_held_is_sent_when_the_store_comes_back_although_the_trainer_deleted_it() -> None:
    async def story() -> None:
        world = World(link=Link(1_000_000))
        async with world.machine.on():
            await world.committed(100)
            name = world.save(200, size=3_000_000)
            await world.machine.state_of(name, "uploading")
            world.faults.down = True
            await asyncio.sleep(10)
            world.disk.delete(name)
            world.machine.guard.schedule.hint(name)
            await asyncio.sleep(60)
            world.faults.down = False
            await world.machine.state_of(name, "committed", within=60)
            await asyncio.sleep(1)
            assert world.disk.open_count == 0

    run_virtual(story())


def test_under_a_deadline_a_store_that_is_mended_is_noticed_at_once() -> None:
    """After an hour of denials the next try would come in half a minute; a notice leaves no time for that."""

    async def story() -> None:
        world = World()
        async with world.machine.on():
            await world.committed(100)
            world.faults.denied = True
            name = world.save(200)
            await asyncio.sleep(3600)
            world.imds.give(NoticeKind.TERMINATE, seconds=60)
            async with asyncio.timeout(10):
                await world.machine.guard.drain.view.until(lambda view: view.state is DaemonState.DRAINING)
            fired = world.faults.fired[Fault.DENIED]
            await asyncio.sleep(20)
            assert world.faults.fired[Fault.DENIED] > fired
            world.faults.denied = False
            mended = world.clock.monotonic()
            await world.machine.state_of(name, "committed")
            assert world.clock.monotonic() - mended < 3

    run_virtual(story())


@pytest.mark.parametrize("what", ["run1/", "run1/.spotguard/manifests/"])
def test_a_run_that_is_deleted_under_the_daemon_is_sent_again_and_never_called_saved(what: str) -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            for step in (100, 200):
                await world.committed(step)
            world.disk.delete("checkpoint-100")
            await asyncio.sleep(60)
            for key in [key for key in world.bucket.objects if key.startswith(what)]:
                world.bucket.remove(key)
            await asyncio.sleep(400)
            assert world.machine.states() == {"checkpoint-200": "committed"}
            (manifest,) = world.machine.manifests().values()
            for file in manifest["files"]:
                assert world.bucket.objects[KEYS.absolute(file["key"])].body == world.disk.content(f"checkpoint-200/{file['path']}")
            assert KEYS.claim(1) in world.bucket.objects
            newcomer = Machine(world.bucket, clock=world.clock, name="i-2")
            async with newcomer.on():
                async with asyncio.timeout(60):
                    await newcomer.guard.claim.state.until(lambda state: state.phase is ClaimPhase.HELD)
                assert newcomer.guard.claim.state.value.number == 2
                assert world.machine.guard.claim.state.value.phase is ClaimPhase.FENCED

    run_virtual(story())


def test_an_unfinished_folder_that_goes_while_it_is_sent_early_leaves_nothing_behind() -> None:
    async def story() -> None:
        world = World(link=Link(1_000_000))
        async with world.machine.on() as daemon:
            await world.committed(100)
            world.disk.write("checkpoint-200/model.safetensors", hf_files(200, size=12_000_000)["model.safetensors"])
            world.machine.guard.schedule.hint("checkpoint-200/model.safetensors", True)
            await asyncio.sleep(3)
            assert world.bucket.uploads
            world.disk.delete("checkpoint-200")
            world.machine.guard.schedule.hint("checkpoint-200")
            await asyncio.sleep(60)
            assert world.machine.states() == {"checkpoint-100": "committed"}
            assert world.disk.open_count == 0
            world.machine.life.stop()
            assert await daemon is ExitStatus.DONE

    run_virtual(story())


def test_an_early_upload_that_failed_gives_its_files_back_when_the_folder_goes() -> None:
    async def story() -> None:
        world = World(link=Link(1_000_000))
        async with world.machine.on():
            await world.committed(100)
            world.disk.write("checkpoint-200/model.safetensors", hf_files(200, size=12_000_000)["model.safetensors"])
            world.machine.guard.schedule.hint("checkpoint-200/model.safetensors", True)
            await asyncio.sleep(8)
            world.faults.down = True
            await asyncio.sleep(20)
            world.disk.delete("checkpoint-200")
            world.machine.guard.schedule.hint("checkpoint-200")
            await asyncio.sleep(40)
            assert world.disk.open_count == 0
            world.faults.down = False
            await asyncio.sleep(40)

    run_virtual(story())


def test_a_held_file_that_is_written_on_after_its_deletion_has_vanished_and_blocks_nothing() -> None:
    async def story() -> None:
        world = World(link=Link(1_000_000))
        async with world.machine.on() as daemon:
            await world.committed(100)
            name = world.save(200, size=12_000_000)
            await world.machine.state_of(name, "uploading")
            await asyncio.sleep(2)
            inode = world.disk._inode(f"{name}/model.safetensors")
            world.disk.delete(name)
            world.machine.guard.schedule.hint(name)
            await asyncio.sleep(1)
            inode.mtime_ns += 5_000_000_000
            await asyncio.sleep(30)
            assert world.machine.states()[name] == "vanished"
            world.machine.life.stop()
            assert await daemon is ExitStatus.DONE

    run_virtual(story())


def test_a_committed_name_that_is_being_rewritten_is_never_safe_while_the_store_is_away() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            world.disk.write("last.ckpt", b"one")
            await world.machine.state_of("last.ckpt", "committed")
            world.faults.down = True

            async def write_on() -> None:
                size = 10
                while True:
                    size += 1
                    world.disk.write("last.ckpt", b"x" * size)
                    world.machine.guard.schedule.hint("last.ckpt")
                    await asyncio.sleep(1)

            writing = asyncio.ensure_future(write_on())
            world.imds.give(NoticeKind.TERMINATE, seconds=60)
            await asyncio.sleep(45)
            assert world.machine.report.state() is DaemonState.DRAINING
            writing.cancel()

    run_virtual(story())


def test_an_atomic_replacement_between_look_and_send_never_mixes_two_saves() -> None:
    async def story() -> None:
        world = World(link=Link(2_000_000))
        written = []
        async with world.machine.on():
            for salt in range(6):
                files = hf_files(100, size=1_000_000, salt=salt)
                written.append(files)
                for path, content in files.items():
                    world.disk.write(f"checkpoint-100/{path}", content, replace=True)
                world.machine.guard.schedule.hint("checkpoint-100")
                await asyncio.sleep(0.35)
            await asyncio.sleep(60)
            manifests = world.machine.manifests()
            assert manifests
            for manifest in manifests.values():
                found = {f["path"]: world.bucket.objects[KEYS.absolute(f["key"])].body for f in manifest["files"]}
                assert found in written
            assert found == written[-1]

    run_virtual(story())


def test_a_file_that_is_rewritten_with_its_time_set_back_while_it_is_sent_is_sent_again() -> None:
    async def story() -> None:
        world = World(link=Link(1_000_000))
        async with world.machine.on():
            name = world.save(100, size=8_000_000)
            await world.machine.state_of(name, "uploading")
            await asyncio.sleep(2)
            path = f"{name}/model.safetensors"
            before = world.disk._inode(path).stat
            changed = bytearray(world.disk.content(path))
            changed[200:] = b"\7" * (len(changed) - 200)
            world.disk.write(path, bytes(changed), mtime_ns=before.mtime_ns)
            await world.machine.state_of(name, "committed", within=120)
            (manifest,) = world.machine.manifests().values()
            key = next(f["key"] for f in manifest["files"] if f["path"] == "model.safetensors")
            assert world.bucket.objects[KEYS.absolute(key)].body == bytes(changed)

    run_virtual(story())


def test_a_rewrite_that_no_stat_tells_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same size, and in the same tick of the filesystem's clock as the write that the completing look has seen."""

    async def story() -> None:
        world = World()
        scan, marker = world.disk.scan, "checkpoint-100/trainer_state.json"
        rewritten: list[float] = []

        def rewrite() -> None:
            world.disk.rewrite_unseen(marker, world.disk.content(marker).replace(b": 100", b" :100"))
            rewritten.append(asyncio.get_running_loop().time())

        async def scan_between_two_writes(folders: Collection[str] | None = None) -> Tree:
            first = marker in world.disk._files and not rewritten
            if first:
                world.disk.write(marker, world.disk.content(marker))
            tree = await scan(folders)
            if first:
                asyncio.get_running_loop().call_later(0.004, rewrite)
            return tree

        monkeypatch.setattr(world.disk, "scan", scan_between_two_writes)
        async with world.machine.on():
            await asyncio.sleep(5)
            name = world.save(100)
            await world.machine.state_of(name, "committed")
            assert len(rewritten) == 1
            (manifest,) = world.machine.manifests().values()
            key = next(file["key"] for file in manifest["files"] if file["path"] == "trainer_state.json")
            assert world.bucket.objects[KEYS.absolute(key)].body == world.disk.content(marker)

    run_virtual(story())


def test_a_file_that_changes_without_end_does_not_fill_the_bucket() -> None:
    async def story() -> None:
        world = World(link=Link(1_000_000))
        async with world.machine.on():
            name = world.save(100, size=300_000)
            for second in range(600):
                world.disk.write(f"{name}/metrics.bin", b"x" * (200_000 + second))
                world.machine.guard.schedule.hint(name)
                await asyncio.sleep(0.1)
            copies = sum(verb == "put" and "metrics.bin" in key for verb, key in world.bucket.log)
            assert copies < 30
            await world.machine.state_of(name, "committed", within=60)

    run_virtual(story())


@pytest.mark.parametrize("body", [b"{", b'{"format": 9, "files": []}'])
def test_a_loose_index_that_can_not_be_read_stops_neither_checkpoints_nor_loose_files(body: bytes) -> None:
    async def story() -> None:
        world = World()
        world.bucket.write("put", KEYS.loose_index, body, {}, only_new=False)
        async with world.machine.on() as daemon:
            world.disk.write("notes.txt", b"hello")
            await world.committed(100)
            await asyncio.sleep(60)
            assert not daemon.done()
            assert world.bucket.objects["run1/notes.txt"].body == b"hello"

    run_virtual(story())


def test_loose_files_whose_index_could_not_be_written_are_named_in_it_later() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            await world.committed(100)
            world.faults.plan("replace", Fault.UNAVAILABLE)
            world.disk.write("notes.txt", b"hello")
            world.machine.guard.schedule.hint("notes.txt")
            await asyncio.sleep(20)
            assert world.faults.fired[Fault.UNAVAILABLE] == 1
            assert list(decode_index(world.bucket.objects[KEYS.loose_index].body)) == ["notes.txt"]

    run_virtual(story())


def test_more_loose_files_than_go_in_one_pass_are_all_sent_and_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loose_survey, "_IN_ONE_PASS", 3)

    async def story() -> None:
        world = World()
        for number in range(10):
            world.disk.write(f"logs/{number}.txt", b"x")
        async with world.machine.on() as daemon:
            world.machine.life.stop()
            await asyncio.wait_for(asyncio.shield(daemon), 60)
        assert len(decode_index(world.bucket.objects[KEYS.loose_index].body)) == 10

    run_virtual(story())


class Refusing(MemoryVolume):
    """A disk on which these may be listed but not opened."""

    refused: frozenset[str] = frozenset()
    scan_refused = False

    async def hold(self, source: str, copying: Copying = Copying.NEVER) -> MemoryHeldFile:
        if source in self.refused:
            raise CannotRead(f"{source}: permission denied")
        return await super().hold(source, copying)

    async def scan(self, folders: Any = None) -> Any:
        tree = await super().scan(folders)
        if self.scan_refused:
            raise CannotRead("/out: permission denied")
        return tree


@pytest.mark.parametrize("draining", [False, True])
def test_the_loop_rests_whatever_can_not_be_done(draining: bool) -> None:
    async def story() -> None:
        disk = Refusing()
        world = World(disk=disk)
        disk.clock = world.clock
        disk.refused = frozenset({"secret.txt", "checkpoint-300/optimizer.pt"})
        async with world.machine.on():
            await world.committed(100)
            disk.write("secret.txt", b"x")
            world.save(300)
            disk.write("checkpoint-200/model.safetensors", b"torn")
            if draining:
                world.imds.give(NoticeKind.TERMINATE, seconds=120)
            await asyncio.sleep(10)
            assert await world.looks_in(60) <= (60 * 4 if draining else 60)
            world.faults.denied = True
            assert await world.looks_in(30) <= (30 * 4 if draining else 60)
            disk.scan_refused = True
            assert await world.looks_in(60) <= 60 * 2
            disk.scan_refused = False
            world.faults.denied = False
            disk.refused = frozenset()
            await world.machine.state_of("checkpoint-300", "committed", within=60)

    run_virtual(story())


def test_a_cancelled_upload_goes_on_from_its_parts_and_its_progress_never_lies() -> None:
    async def story() -> None:
        world = World(link=Link(1_000_000), concurrency=2)
        async with world.machine.on():
            await world.committed(100)
            world.save(200, size=30_000_000)
            await world.machine.state_of("checkpoint-200", "uploading")
            await asyncio.sleep(18)
            world.imds.give(NoticeKind.TERMINATE, seconds=120)
            await asyncio.sleep(6)
            save_hf(world.disk, 300, stage="b", size=8_000_000)
            world.machine.guard.replicator.look_now()
            await world.machine.state_of("b/checkpoint-300", "uploading")
            await asyncio.sleep(1)
            shown = {c.name: c.uploaded_bytes for c in world.machine.guard.replicator.view.value.checkpoints}
            assert 15_000_000 <= shown["checkpoint-200"] <= 30_100_000
            await world.machine.state_of("checkpoint-200", "committed", within=60)
            parts = [key for verb, key in world.bucket.log if verb == "send_part" and "checkpoint-200" in key]
            assert len(parts) <= 8  # six, and those that were under way when it was stopped

    run_virtual(story())


def test_a_real_notice_within_a_drill_signals_the_trainer_at_once() -> None:
    async def story() -> None:
        trainer = MemoryTrainer()
        world = World(trainer=trainer, signal="SIGUSR1", poll_seconds=1.0)
        trainer.start()
        async with world.machine.on():
            await world.committed(100)
            world.machine.guard.monitor.announce_drill(60)
            await world.machine.guard.drain.view.until(lambda v: v.state is DaemonState.SAFE)
            await asyncio.sleep(0.5)
            world.imds.give(NoticeKind.TERMINATE, seconds=120)
            await world.machine.guard.monitor.state.until(lambda s: s.current is not None and not s.current.drill)
            seen = world.clock.monotonic()
            await asyncio.sleep(0.2)
            assert trainer.sent
            assert trainer.sent[0].at - seen <= 0.05

    run_virtual(story())


def test_a_process_table_that_can_not_be_read_costs_no_drain() -> None:
    async def story() -> None:
        trainer = MemoryTrainer()
        world = World(trainer=trainer, signal="SIGUSR1")
        process = trainer.start()
        async with world.machine.on() as daemon:
            await world.committed(100)
            await asyncio.sleep(6)
            trainer.find_error = OSError("too many open files")
            trainer.on_signal = lambda *_: trainer.exit(process)
            world.imds.give(NoticeKind.TERMINATE, seconds=60)
            async with asyncio.timeout(70):
                await world.machine.guard.drain.view.until(lambda v: v.state is DaemonState.SAFE)
            assert trainer.signals == [(process.pid, "SIGUSR1")]
            assert not daemon.done()

    run_virtual(story())


def test_weeks_of_checkpoints_leave_little_in_memory() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            for step in range(1, 400):
                name = world.save(step)
                await world.machine.state_of(name, "committed")
                if step > 2:
                    world.disk.delete(f"checkpoint-{step - 2}")
                world.disk.write(f"loose-{step}.txt", b"x")
                if step > 1:
                    world.disk.delete(f"loose-{step - 1}.txt")
                await asyncio.sleep(1)
            await asyncio.sleep(120)
            guard, dispatcher = world.machine.guard, world.machine.guard.replicator._dispatcher
            assert len(list(guard.ledger)) <= 60
            assert len(guard.committed._read) <= 70
            assert not dispatcher._tools.engine._begun
            assert len(dispatcher._loose._settled) <= 20
            assert len(guard.replicator._writers._content) <= 60
            assert len(guard.replicator._writers._seen) <= 60
            assert sum(record.upload is not None for record in guard.ledger) <= 5
            assert world.disk.open_count == 0

    run_virtual(story())


class SlowScan(MemoryVolume):
    """What a scan shows is half a second old when it is there."""

    looking = asyncio.Event()

    async def scan(self, folders: Collection[str] | None = None) -> Tree:
        tree = await super().scan(folders)
        self.looking.set()
        await asyncio.sleep(0.5)
        return tree


def test_a_loose_file_written_while_the_disk_is_looked_at_is_not_left_behind_by_the_end_of_the_daemon() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        disk = SlowScan(clock)
        disk.looking = asyncio.Event()
        machine = Machine(bucket, clock=clock, disk=disk, link=Link(10_000))
        async with machine.on() as daemon:
            save_hf(machine.disk, 100)
            await machine.state_of("checkpoint-100", "committed")
            await asyncio.sleep(20)
            disk.looking.clear()
            machine.guard.schedule.want_full()
            await disk.looking.wait()
            await asyncio.sleep(0.1)
            machine.disk.write("events.out", b"l" * 50_000)
            machine.life.stop()
            assert await asyncio.wait_for(daemon, 60) is ExitStatus.DONE
            assert "run1/events.out" in bucket.objects

    run_virtual(story())
