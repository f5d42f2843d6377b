"""What goes on while what many files come to is being made out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from spotguard.core.notice import NoticeKind
from spotguard.core.status import DaemonState
from spotguard.core.structure import Finding
from spotguard.services.replication.sighting import make_out
from spotguard.services.upload.commit import draft
from tests.support.machine import save_hf, torch_zip
from tests.support.virtual_time import run_virtual
from tests.unit.services.drain_world import Stage

T = TypeVar("T")
LOOK, ASSESSMENT, DRAFT, TEXT = make_out.__name__, "assess", draft.__name__, "encode"


class Slow:
    """An offload of which one result can be held back, as if it took long: what it is made from was read before."""

    def __init__(self) -> None:
        self.hold_next = ""
        """What is to be held: the name of a function that the work calls."""
        self.holds = False
        self.go_on = asyncio.Event()

    async def __call__(self, items: int, work: Callable[[], T]) -> T:
        result = work()
        code = getattr(work, "func", work).__code__
        if self.hold_next and self.hold_next in (code.co_name, *code.co_names, *code.co_freevars):
            self.hold_next, self.holds = "", True
            await self.go_on.wait()
            self.holds = False
        return result


class World(Stage):
    def __init__(self) -> None:
        self.slow = Slow()
        super().__init__(offload=self.slow)
        self.disk = self.machine.disk

    async def look_is_held(self) -> None:
        self.slow.hold_next = LOOK
        self.machine.guard.replicator.look_now()
        await asyncio.sleep(2)
        assert self.slow.holds

    def write(self, path: str, content: bytes) -> None:
        self.disk.write(path, content)
        self.machine.guard.schedule.hint(path)

    async def ends_another_save(self) -> None:
        """Of a checkpoint of two files, of which the first was just written over."""
        await asyncio.sleep(1)
        self.write("out/model-5/b.bin", torch_zip(b"b"))
        await self.machine.state_of("out/model-5", "committed")

    def puts(self, key: str) -> int:
        return self.bucket.log.count(("put", key))

    def committed_files(self, name: str) -> list[list[str]]:
        """Of each generation."""
        return [[file["path"] for file in manifest["files"]] for manifest in self.machine.manifests().values() if manifest["name"] == name]


def test_a_notice_reaches_the_trainer_meanwhile() -> None:
    async def story() -> None:
        world = World()
        world.trainer.start()
        async with world.machine.on():
            await world.committed(100)
            await world.look_is_held()
            world.imds.give(NoticeKind.TERMINATE, seconds=60)
            await asyncio.sleep(6)
            assert world.state() is DaemonState.DRAINING
            assert [name for _, name in world.trainer.signals] == ["SIGUSR1"]
            assert world.slow.holds

    run_virtual(story())


def test_a_checkpoint_that_is_declared_meanwhile_is_committed_as_it_was_then() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            world.write("out/model-5/a.bin", torch_zip(b"a"))
            await asyncio.sleep(1)
            await world.look_is_held()
            world.write("out/model-5/b.bin", torch_zip(b"b"))
            world.machine.guard.replicator.declare_complete("out/model-5")
            world.slow.go_on.set()
            await world.machine.state_of("out/model-5", "committed", within=3)
            assert world.committed_files("out/model-5") == [["a.bin", "b.bin"]]

    run_virtual(story())


def test_what_was_declared_of_a_committed_checkpoint_is_not_said_of_what_is_written_over_it() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            world.write("out/model-5/a.bin", torch_zip(b"a"))
            await world.machine.state_of("out/model-5", "committed")
            world.machine.guard.replicator.declare_complete("out/model-5")
            await asyncio.sleep(1)
            world.write("out/model-5/a.bin", torch_zip(b"other"))
            await asyncio.sleep(1)
            world.write("out/model-5/b.bin", torch_zip(b"b"))
            await asyncio.sleep(60)
            assert world.committed_files("out/model-5") == [["a.bin"], ["a.bin", "b.bin"]]

    run_virtual(story())


def test_what_is_written_after_the_word_and_before_the_look_is_not_declared() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            world.write("out/model-5/a.bin", torch_zip(b"a"))
            await asyncio.sleep(1)
            await world.look_is_held()
            world.machine.guard.replicator.declare_complete("out/model-5")
            await asyncio.sleep(1)
            world.write("out/model-5/a.bin", torch_zip(b"another save"))
            world.slow.go_on.set()
            await world.ends_another_save()
            assert world.committed_files("out/model-5") == [["a.bin", "b.bin"]]

    run_virtual(story())


def test_a_word_about_what_is_not_whole_yet_does_not_count_for_what_is_written_over_it() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            world.disk.findings["out/model-5/a.bin"] = Finding(False, "has no zip end record")
            world.write("out/model-5/a.bin", torch_zip(b"a"))
            world.machine.guard.replicator.look_now()
            await asyncio.sleep(1)
            world.machine.guard.replicator.declare_complete("out/model-5")
            await asyncio.sleep(1)
            del world.disk.findings["out/model-5/a.bin"]
            world.write("out/model-5/a.bin", torch_zip(b"another save"))
            await world.ends_another_save()
            assert world.committed_files("out/model-5") == [["a.bin", "b.bin"]]

    run_virtual(story())


def test_the_daemon_lives_on_where_a_record_is_dropped_meanwhile() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on() as daemon:
            await world.committed(100)
            world.disk.delete("checkpoint-100")
            world.machine.guard.schedule.hint("checkpoint-100")
            await asyncio.sleep(3)
            world.slow.hold_next = ASSESSMENT
            world.write("out/model-5/a.bin", torch_zip(b"a"))
            await asyncio.sleep(1)
            assert world.slow.holds
            world.machine.guard.replicator.recognise_anew(["checkpoint-100"])
            world.slow.go_on.set()
            await world.machine.state_of("out/model-5", "committed")
            assert not daemon.done()

    run_virtual(story())


@pytest.mark.parametrize("step", [DRAFT, TEXT, "_not_as_sent"])
def test_nothing_is_committed_after_a_halt_that_came_meanwhile(step: str) -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            await world.committed(100)
            world.slow.hold_next = step
            world.machine.guard.schedule.hint(save_hf(world.disk, 200))
            await asyncio.sleep(5)
            assert world.slow.holds
            await world.machine.guard.replicator.halt()
            world.slow.go_on.set()
            await asyncio.sleep(20)
            assert not world.committed_files("checkpoint-200")

    run_virtual(story())


def test_a_loose_file_that_was_sent_meanwhile_is_not_sent_again() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            await world.committed(100)
            world.machine.link.bytes_per_second = 1000.0
            world.write("notes.txt", b"x" * 5000)
            await asyncio.sleep(1)  # on its way
            await world.look_is_held()
            await asyncio.sleep(10)
            assert world.bucket.objects["run1/notes.txt"].body == b"x" * 5000
            world.slow.go_on.set()
            await asyncio.sleep(10)
            assert world.puts("run1/notes.txt") == 1
            assert world.machine.guard.replicator.view.value.loose_pending == 0

    run_virtual(story())


def test_a_loose_file_that_grew_a_little_meanwhile_waits_for_its_time() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            await world.committed(100)
            world.machine.link.bytes_per_second = 1000.0
            world.write("notes.txt", b"x" * 5000)
            await asyncio.sleep(1)
            world.write("notes.txt", b"x" * 5010)
            await world.look_is_held()
            await asyncio.sleep(10)
            world.slow.go_on.set()
            await asyncio.sleep(10)
            assert world.puts("run1/notes.txt") == 1

    run_virtual(story())


def test_a_look_from_before_the_notice_does_not_say_that_the_loose_files_are_flushed() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            await world.committed(100)
            world.write("notes.txt", b"x" * 5000)
            await asyncio.sleep(10)
            world.write("notes.txt", b"x" * 5010)  # which is not due for an hour
            await world.look_is_held()
            world.imds.give(NoticeKind.TERMINATE, seconds=60)
            await asyncio.sleep(6)
            assert world.slow.holds
            world.slow.go_on.set()
            await world.machine.guard.replicator.view.until(lambda view: view.loose_flushed_at > 0)
            assert world.bucket.objects["run1/notes.txt"].body == b"x" * 5010

    run_virtual(story())
