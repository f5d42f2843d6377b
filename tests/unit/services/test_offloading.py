"""What goes on while a look over many files is being made out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from spotguard.core.notice import NoticeKind
from spotguard.core.status import DaemonState
from tests.support.virtual_time import run_virtual
from tests.unit.services.drain_world import Stage

T = TypeVar("T")


class Slow:
    """An offload of which one result can be held back, as if it took long: what it is made from was read before."""

    def __init__(self) -> None:
        self.hold_next = False
        self.holds = False
        self.go_on = asyncio.Event()

    async def __call__(self, items: int, work: Callable[[], T]) -> T:
        result = work()
        if self.hold_next:
            self.hold_next, self.holds = False, True
            await self.go_on.wait()
            self.holds = False
        return result


def test_a_notice_reaches_the_trainer_meanwhile() -> None:
    async def story() -> None:
        slow = Slow()
        stage = Stage(offload=slow)
        stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100)
            slow.hold_next = True
            stage.machine.guard.replicator.look_now()
            await asyncio.sleep(2)
            assert slow.holds
            stage.imds.give(NoticeKind.TERMINATE, seconds=60)
            await asyncio.sleep(6)
            assert stage.state() is DaemonState.DRAINING
            assert [name for _, name in stage.trainer.signals] == ["SIGUSR1"]
            assert slow.holds

    run_virtual(story())


def test_a_loose_file_that_was_sent_meanwhile_is_not_sent_again() -> None:
    async def story() -> None:
        slow = Slow()
        stage = Stage(offload=slow)
        async with stage.machine.on():
            await stage.committed(100)
            stage.machine.link.bytes_per_second = 1000.0
            stage.machine.disk.write("notes.txt", b"x" * 5000)
            stage.machine.guard.schedule.hint("notes.txt")
            await asyncio.sleep(3)  # on its way
            slow.hold_next = True
            stage.machine.guard.replicator.look_now()
            await asyncio.sleep(10)
            assert slow.holds
            assert stage.bucket.objects["run1/notes.txt"].body == b"x" * 5000
            slow.go_on.set()
            await asyncio.sleep(10)
            assert [key for verb, key in stage.bucket.log if verb == "put" and key == "run1/notes.txt"] == ["run1/notes.txt"]
            assert stage.machine.guard.replicator.view.value.loose_pending == 0

    run_virtual(story())
