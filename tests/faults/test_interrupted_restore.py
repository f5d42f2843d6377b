"""A restore that ends in its middle, however it ends: no half checkpoint under any name, and the next one succeeds."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from spotguard.adapters.disk.placement import LocalPlacement
from spotguard.adapters.disk.stage import LocalStage
from spotguard.ports.object_store import StoreUnavailable
from spotguard.ports.placement import NoSpace
from tests.support.committed_run import content_of, hf_files
from tests.support.faulty_store import Fault, Faults, FaultyTransfer
from tests.support.memory_store import MemoryBulk, MemoryStore, MemoryTransfer
from tests.support.way_back import NewMachine

OLD = {"config.json": b'{"torn": true}'}
STATE = {"training_state.json": b'{"step": 100}'}


async def machine_with_a_torn_one(root: Path) -> NewMachine:
    machine = NewMachine(root)
    run = machine.run()
    await run.commit("checkpoint-50", hf_files(50))
    await run.commit("checkpoint-100", hf_files(100, 4000), companions=STATE)
    await run.add_loose("notes.txt", b"notes")
    machine.write(OLD, below="checkpoint-100", age_seconds=60)
    return machine


def assert_nothing_half(root: Path) -> None:
    """Under the name is the old one, nothing, or the new one whole."""
    found = content_of(root / "checkpoint-100") if (root / "checkpoint-100").exists() else None
    assert found in (None, OLD, hf_files(100, 4000))
    if found == hf_files(100, 4000):
        assert (root / "training_state.json").read_bytes() == STATE["training_state.json"]
        assert (root / "notes.txt").read_bytes() == b"notes"


async def assert_the_next_one_succeeds(machine: NewMachine) -> None:
    outcome = await machine.restore()
    assert outcome.name == "checkpoint-100"
    assert content_of(machine.root / "checkpoint-100") == hf_files(100, 4000)
    assert (machine.root / "training_state.json").read_bytes() == STATE["training_state.json"]
    assert not (machine.root / ".spotguard-tmp").exists()


class Nth:
    """Before the n-th request: does `what`. Counts requests of store and transfer together."""

    def __init__(self, n: int, what: Callable[[], Awaitable[None]]) -> None:
        self.n, self.what, self.fired = n, what, False

    def around(self, inner: Any) -> Any:
        nth = self

        class Counting:
            def __getattr__(self, verb: str) -> Any:
                original = getattr(inner, verb)
                if not asyncio.iscoroutinefunction(original):
                    return original

                async def counted(*args: Any, **kwargs: Any) -> Any:
                    nth.n -= 1
                    if nth.n == 0:
                        nth.fired = True
                        await nth.what()
                    return await original(*args, **kwargs)

                return counted

        return Counting()


@pytest.mark.parametrize("how", ["cancelled", "unavailable"])
async def test_a_restore_that_ends_at_any_request_leaves_nothing_half(tmp_path: Path, how: str) -> None:
    for n in range(1, 100):
        machine = await machine_with_a_torn_one(tmp_path / f"{n}")
        restoring: list[asyncio.Task[Any]] = []

        async def fail(restoring: list[asyncio.Task[Any]] = restoring) -> None:
            if how == "unavailable":
                raise StoreUnavailable("injected")
            restoring[0].cancel()
            await asyncio.sleep(0)

        nth = Nth(n, fail)
        machine.store = nth.around(MemoryStore(machine.bucket))
        machine.transfer = nth.around(MemoryTransfer(machine.bucket))
        if how == "cancelled":  # it raises nothing else
            machine.bulk = nth.around(MemoryBulk(machine.bucket))
        restoring.append(asyncio.create_task(machine.restore()))
        with suppress(asyncio.CancelledError, StoreUnavailable):
            await restoring[0]
        if not nth.fired:
            assert n > (8 if how == "cancelled" else 12)
            return
        assert_nothing_half(machine.root)
        machine.store = machine.transfer = machine.bulk = None
        await assert_the_next_one_succeeds(machine)
    raise AssertionError("the restore never ended by itself")


class KilledPlacement(LocalPlacement):
    """Dies before the n-th verb, as SIGKILL would: nothing is cleaned up."""

    def __init__(self, root: str, n: int) -> None:
        super().__init__(root)
        self.n = n
        self.killed = False

    def _count(self) -> None:
        self.n -= 1
        if self.n <= 0:
            self.killed = True
            raise KilledNow

    def __getattribute__(self, name: str) -> Any:
        if name in ("free_bytes", "stage", "lying", "all_lying", "checksum", "publish", "set_aside", "write", "set_times"):
            object.__getattribute__(self, "_count")()
        return object.__getattribute__(self, name)


class KilledNow(BaseException):
    pass


async def test_a_restore_that_is_killed_at_any_step_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: LocalStage, *, keep: bool) -> None:
        """The dead clean nothing up; the kernel lets their locks go."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    for n in range(1, 200):
        machine = await machine_with_a_torn_one(tmp_path / f"{n}")
        placement = KilledPlacement(str(machine.root), n)
        machine.placement = placement
        with monkeypatch.context() as patch:
            patch.setattr(LocalStage, "end", nothing)
            try:
                await machine.restore()
            except KilledNow:
                assert placement.killed
        assert_nothing_half(machine.root)
        machine.placement = None
        if not placement.killed:
            assert n > 15
            return
        await assert_the_next_one_succeeds(machine)
    raise AssertionError("the restore never ended by itself")


async def test_what_a_failed_restore_had_fetched_is_not_fetched_again(tmp_path: Path) -> None:
    machine = NewMachine(tmp_path)
    await machine.run().commit("checkpoint-100", {f"f{at}.dat": bytes([at]) * 900 for at in range(10)})
    faults = Faults()
    faults.plan("fetch", *[Fault.NONE] * 7, Fault.UNAVAILABLE)
    machine.transfer = FaultyTransfer(MemoryTransfer(machine.bucket), faults)
    with pytest.raises(StoreUnavailable):
        await machine.restore()
    assert faults.fired[Fault.UNAVAILABLE] == 1
    assert [path.name for path in tmp_path.iterdir()] == [".spotguard-tmp"]
    machine.transfer = None
    outcome = await machine.restore()
    assert outcome.files_reused >= 4
    assert outcome.files_fetched + outcome.files_reused == 10
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-100"]


async def test_a_disk_that_would_fill_is_refused_with_the_numbers(tmp_path: Path) -> None:
    class Small(LocalPlacement):
        async def free_bytes(self, path: str = "") -> int:
            return 1000

    machine = NewMachine(tmp_path)
    await machine.run().commit("checkpoint-100", hf_files(100, 4000))
    machine.placement = Small(str(tmp_path))
    with pytest.raises(NoSpace, match=r"checkpoint-100 needs 4\.1 kB \(4\d\d\d bytes\) and .* has 1 kB \(1000 bytes\) free"):
        await machine.restore()
    assert list(tmp_path.iterdir()) == []


async def test_a_disk_that_fills_while_it_is_written_leaves_nothing(tmp_path: Path) -> None:
    class Full(MemoryTransfer):
        fetched = 0

        async def fetch(self, *args: Any, **kwargs: Any) -> int:
            self.fetched += 1
            if self.fetched == 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            return await super().fetch(*args, **kwargs)

    machine = NewMachine(tmp_path)
    await machine.run().commit("checkpoint-100", hf_files(100, 4000))
    machine.transfer = Full(machine.bucket)
    with pytest.raises(NoSpace, match="the disk is full while writing"):
        await machine.restore()
    assert list(tmp_path.iterdir()) == []


async def test_two_restores_into_one_folder_do_not_harm_each_other(tmp_path: Path) -> None:
    machine = await machine_with_a_torn_one(tmp_path)
    outcomes = await asyncio.gather(machine.restore(), machine.restore(), machine.restore("checkpoint-50"))
    assert content_of(tmp_path / "checkpoint-100") == hf_files(100, 4000)
    assert content_of(tmp_path / "checkpoint-50") == hf_files(50)
    assert sorted(outcome.files_fetched for outcome in outcomes) == [0, 3, 3] or outcomes[0].files_fetched + outcomes[1].files_fetched <= 3


async def test_bits_that_flip_on_the_way_are_fetched_again(tmp_path: Path) -> None:
    class Noisy(MemoryTransfer):
        flips = 1

        async def fetch(self, key: str, into: Any, **kwargs: Any) -> int:
            crc = await super().fetch(key, into, **kwargs)
            if self.flips and key.endswith("model.safetensors"):
                self.flips -= 1
                return crc ^ 1
            return crc

    machine = NewMachine(tmp_path)
    await machine.run().commit("checkpoint-100", hf_files(100))
    machine.transfer = noisy = Noisy(machine.bucket)
    outcome = await machine.restore()
    assert (outcome.skipped, noisy.flips) == ((), 0)
