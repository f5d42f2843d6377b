"""Files that an earlier checkpoint has are copied inside the store; each checkpoint keeps objects of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from spotguard.core.retention import RetentionRule
from tests.support.faulty_store import Fault, Faults, FaultyCopies
from tests.support.machine import KEYS, Machine, hf_files, safetensors
from tests.support.memory_copies import MemoryCopies
from tests.support.memory_store import Link, MemoryBucket
from tests.support.virtual_time import VirtualClock, run_virtual

MIB = 1 << 20
FROZEN = safetensors(random.Random(1).randbytes(19 * MIB))


def fresh(step: int, size: int = MIB) -> bytes:
    return safetensors(random.Random(step).randbytes(size))


def save(machine: Machine, step: int, more: Mapping[str, bytes], *, stage: str = "") -> str:
    """A whole checkpoint with these files beside the usual small ones."""
    name = f"{stage}/checkpoint-{step}" if stage else f"checkpoint-{step}"
    files = {**more, **hf_files(step, size=100)}
    for path, content in files.items():
        machine.disk.write(f"{name}/{path}", content)
    machine.guard.schedule.hint(name)
    return name


class World:
    """One bucket, and a machine after the other on it. `parts_only`: a store that is not known to heed conditions on a copy."""

    def __init__(self, *, parts_only: bool = False, **bucket: Any) -> None:
        self.clock = VirtualClock()
        self.bucket = MemoryBucket(self.clock, **bucket)
        self.faults = Faults()
        self.parts_only = parts_only

    def machine(self, **settings: Any) -> Machine:
        copies = MemoryCopies(self.bucket, whole_copy_bytes=0 if self.parts_only else 128 * MIB)
        return Machine(self.bucket, clock=self.clock, link=Link(), stored=FaultyCopies(copies, self.faults), **settings)

    def verbs(self, name: str) -> list[str]:
        """What was done to the keys of a checkpoint, in order."""
        return [verb for verb, key in self.bucket.log if key.startswith(KEYS.absolute(f"{name}/"))]

    def assert_whole(self, machine: Machine, name: str) -> None:
        """The newest manifest of this name has the bytes of the disk, in objects that lie in its own place."""
        manifest = [one for one in machine.manifests().values() if one["name"] == name][-1]
        for file in manifest["files"]:
            assert file["key"].startswith(f"{name}/")
            assert self.bucket.objects[KEYS.absolute(file["key"])].body == machine.disk.content(f"{name}/{file['path']}")
            assert self.bucket.objects[KEYS.absolute(file["key"])].metadata["spotguard-checkpoint"] == name


@pytest.mark.parametrize("parts_only", [False, True])
def test_of_a_checkpoint_of_which_95_percent_are_files_of_the_previous_one_at_most_6_percent_are_sent(parts_only: bool) -> None:
    async def story() -> None:
        world = World(parts_only=parts_only)
        machine = world.machine()
        async with machine.on():
            await machine.state_of(save(machine, 100, {"frozen-00001.safetensors": FROZEN, "adapter.safetensors": fresh(100)}), "committed")
            before = machine.link.carried_bytes
            with capture_logs() as logs:
                name = save(machine, 200, {"frozen-00002.safetensors": FROZEN, "adapter.safetensors": fresh(200)})
                await machine.state_of(name, "committed")
                await asyncio.sleep(1)  # virtual: the line may follow what is published
        manifest = next(one for one in machine.manifests().values() if one["name"] == name)
        assert len(FROZEN) / manifest["total_bytes"] > 0.94
        assert machine.link.carried_bytes - before <= 0.06 * manifest["total_bytes"]
        (line,) = [line for line in logs if line["event"] == "checkpoint.committed"]
        assert line["reused_bytes"] == len(FROZEN)
        assert line["sent_bytes"] + line["reused_bytes"] == line["size_bytes"]
        world.assert_whole(machine, name)
        assert ("copy_part" if parts_only else "copy") in world.verbs(name)

    run_virtual(story())


def test_what_another_machine_committed_is_copied_by_the_next_one_too() -> None:
    async def story() -> None:
        world = World()
        first = world.machine()
        async with first.on():
            await first.state_of(save(first, 100, {"frozen.safetensors": FROZEN}), "committed")
        second = world.machine(name="i-2")
        async with second.on():
            name = save(second, 200, {"frozen.safetensors": FROZEN})
            await second.state_of(name, "committed", within=120)
        assert second.link.carried_bytes < MIB
        world.assert_whole(second, name)

    run_virtual(story())


def test_a_later_stage_copies_from_the_newest_of_the_one_before() -> None:
    async def story() -> None:
        world = World()
        machine = world.machine()
        async with machine.on():
            await machine.state_of(save(machine, 100, {"frozen.safetensors": FROZEN}, stage="sft"), "committed")
            before = machine.link.carried_bytes
            name = save(machine, 10, {"reference.safetensors": FROZEN}, stage="dpo")
            await machine.state_of(name, "committed")
            assert machine.link.carried_bytes - before < MIB
            world.assert_whole(machine, name)

    run_virtual(story())


def test_files_of_equal_size_and_other_content_cost_one_part_of_reading_and_no_more() -> None:
    async def story() -> None:
        world = World()
        machine = world.machine()
        async with machine.on():
            await machine.state_of(save(machine, 100, {"model.safetensors": fresh(1, 30 * MIB)}), "committed")
            before = machine.disk.summed_bytes
            name = save(machine, 200, {"model.safetensors": fresh(2, 30 * MIB)})
            await machine.state_of(name, "committed")
            assert machine.disk.summed_bytes - before <= machine.guard.settings.part_bytes
            world.assert_whole(machine, name)

    run_virtual(story())


def test_a_file_that_differs_only_at_its_end_is_sent_as_it_is() -> None:
    async def story() -> None:
        world = World()
        machine = world.machine()
        async with machine.on():
            await machine.state_of(save(machine, 100, {"frozen.safetensors": FROZEN}), "committed")
            name = save(machine, 200, {"frozen.safetensors": FROZEN[:-1] + bytes([FROZEN[-1] ^ 1])})
            await machine.state_of(name, "committed")
            world.assert_whole(machine, name)
            assert not {"copy", "copy_part"} & set(world.verbs(name))

    run_virtual(story())


def test_a_name_saved_again_and_again_with_the_same_size_is_told_apart_by_its_first_part() -> None:
    async def story() -> None:
        world = World()
        machine = world.machine(settle_seconds=1.0)
        async with machine.on():
            for step in (1, 2, 3):
                machine.disk.write("last.ckpt", random.Random(step).randbytes(30 * MIB))
                machine.guard.schedule.hint("last.ckpt")
                before = machine.disk.summed_bytes
                await asyncio.sleep(60)
                assert machine.disk.summed_bytes - before <= 2 * machine.guard.settings.part_bytes
            keys = [one["files"][0]["key"] for one in machine.manifests().values()]
            assert keys == ["last.ckpt", "last.ckpt@2", "last.ckpt@3"]

    run_virtual(story())


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.DENIED, Fault.LOST_ANSWER, Fault.CONFLICT])
@pytest.mark.parametrize("parts_only", [False, True])
def test_what_can_not_be_copied_is_sent(fault: Fault, parts_only: bool) -> None:
    async def story() -> None:
        world = World(parts_only=parts_only)
        machine = world.machine()
        async with machine.on():
            await machine.state_of(save(machine, 100, {"frozen.safetensors": FROZEN}), "committed")
            world.faults.plan("copy", fault)
            world.faults.plan("copy_part", Fault.NONE, fault)
            name = save(machine, 200, {"frozen.safetensors": FROZEN})
            await machine.state_of(name, "committed")
            world.assert_whole(machine, name)

    fired = _fired(story, parts_only)
    assert fired or (parts_only and fault is Fault.CONFLICT)  # no store answers 409 to a part


def _fired(story: Any, parts_only: bool) -> bool:
    seen: list[Faults] = []
    original = Faults.__init__

    def remember(self: Faults, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        seen.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Faults, "__init__", remember)
        run_virtual(story())
    return any(sum(faults.fired.values()) for faults in seen)


def test_a_source_that_retention_takes_away_meanwhile_costs_the_copy_and_nothing_else() -> None:
    async def story() -> None:
        world = World(parts_only=True)
        machine = world.machine()
        async with machine.on():
            await machine.state_of(save(machine, 100, {"frozen.safetensors": FROZEN}), "committed")
            gone = KEYS.absolute("checkpoint-100/frozen.safetensors")
            begin = world.bucket.open_upload

            def take_away(key: str, metadata: Mapping[str, str]) -> Any:
                world.bucket.remove(gone)
                return begin(key, metadata)

            world.bucket.open_upload = take_away  # type: ignore[method-assign]
            name = save(machine, 200, {"frozen.safetensors": FROZEN})
            await machine.state_of(name, "committed")
            assert gone not in world.bucket.objects
            world.assert_whole(machine, name)

    run_virtual(story())


def test_a_checkpoint_outlives_the_one_that_it_was_copied_from() -> None:
    async def story() -> None:
        world = World()
        machine = world.machine(retention=RetentionRule(1, None, None))
        async with machine.on():
            await machine.state_of(save(machine, 100, {"frozen.safetensors": FROZEN}), "committed")
            name = save(machine, 200, {"frozen.safetensors": FROZEN})
            await machine.state_of(name, "committed")
            await asyncio.sleep(300)
            assert not [key for key in world.bucket.objects if key.startswith(KEYS.absolute("checkpoint-100/"))]
            world.assert_whole(machine, name)

    run_virtual(story())


def test_large_files_are_copied_before_the_checkpoint_is_complete() -> None:
    async def story() -> None:
        world = World()
        machine = world.machine()
        async with machine.on():
            await machine.state_of(save(machine, 100, {"frozen.safetensors": FROZEN}), "committed")
            machine.disk.write("checkpoint-200/frozen.safetensors", FROZEN)
            machine.guard.schedule.hint("checkpoint-200/frozen.safetensors", True)
            await asyncio.sleep(5)
            assert world.verbs("checkpoint-200") == ["copy"]
            with capture_logs() as logs:
                name = save(machine, 200, {"frozen.safetensors": FROZEN})
                await machine.state_of(name, "committed")
            world.assert_whole(machine, name)
            assert logs

    run_virtual(story())


def test_what_will_be_copied_does_not_count_as_bytes_left_to_send() -> None:
    async def story() -> None:
        world = World(parts_only=True)
        machine = world.machine()
        async with machine.on():
            await machine.state_of(save(machine, 100, {"frozen.safetensors": FROZEN}), "committed")
            world.faults.plan("copy_part", Fault.HANG, Fault.HANG, Fault.HANG, Fault.HANG)
            name = save(machine, 200, {"frozen.safetensors": FROZEN})
            await machine.state_of(name, "uploading")
            await asyncio.sleep(5)
            record = machine.guard.ledger.get(name)
            assert record is not None
            assert record.capture is not None
            assert record.upload is not None
            assert record.upload.bytes_left(record.capture.checkpoint.files) == 0
            assert name not in [one["name"] for one in machine.manifests().values()]
            world.faults.released.set()
            await machine.state_of(name, "committed")
            world.assert_whole(machine, name)

    run_virtual(story())


def test_a_store_without_checksums_gets_the_bytes() -> None:
    async def story() -> None:
        world = World(parts_only=True, keeps_checksums=False)
        machine = world.machine()
        async with machine.on():
            await machine.state_of(save(machine, 100, {"frozen.safetensors": FROZEN}), "committed")
            before = machine.link.carried_bytes
            name = save(machine, 200, {"frozen.safetensors": FROZEN})
            await machine.state_of(name, "committed")
            world.assert_whole(machine, name)
            assert machine.link.carried_bytes - before >= len(FROZEN)

    run_virtual(story())
