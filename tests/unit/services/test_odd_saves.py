"""Saves that are not as the ones before: another step, another number of ranks, a rank that never writes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from spotguard.core.run_keys import RunKeys, newest_first
from tests.support.machine import KEYS, Machine, hf_files, torch_zip
from tests.support.memory_store import MemoryBucket
from tests.support.virtual_time import VirtualClock, run_virtual


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.bucket = MemoryBucket(self.clock)
        self.machine = Machine(self.bucket, clock=self.clock)

    async def save(self, name: str, files: dict[str, bytes], *, seconds: float = 90) -> dict[str, Any]:
        """Write it and wait; its newest manifest, empty for none."""
        for path, content in files.items():
            self.machine.disk.write(f"{name}/{path}", content)
        self.machine.guard.schedule.hint(name)
        await asyncio.sleep(seconds)
        found = [m for m in self.machine.manifests().values() if m["name"] == name]
        return max(found, key=lambda m: m["generation"], default={})

    def newest(self) -> str:
        """What a restore would take."""
        keys = RunKeys("bucket", "run1")
        parsed = [keys.parse_manifest(key) for key in self.machine.manifests()]
        return newest_first([key for key in parsed if key])[0].name


def by_rank(ranks: Iterable[int], step: int) -> dict[str, bytes]:
    return {f"rank_{rank}.pt": torch_zip(b"%d of %d" % (rank, step)) for rank in ranks}


def zero(ranks: int, step: int) -> dict[str, bytes]:
    optimizers = {f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt": torch_zip(b"%d/%d" % (rank, step)) for rank in range(ranks)}
    return {"mp_rank_00_model_states.pt": torch_zip(b"model %d" % step), **optimizers}


def test_a_run_that_was_set_back_is_followed_and_its_newest_save_is_what_a_restore_takes() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            for step in (100, 200, 150):
                assert (await world.save(f"checkpoint-{step}", hf_files(step)))["step"] == step
            assert world.newest() == "checkpoint-150"

    run_virtual(story())


def test_the_same_step_saved_twice_is_a_second_generation_of_its_name() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            assert (await world.save("checkpoint-100", hf_files(100)))["generation"] == 1
            again = await world.save("checkpoint-100", hf_files(100, salt=1))
            assert again["generation"] == 2
            keys = {file["path"]: file["key"] for file in again["files"]}
            assert keys["optimizer.pt"] == "checkpoint-100/optimizer.pt@2"

    run_virtual(story())


def test_what_a_rank_never_wrote_is_never_committed_and_the_status_names_it() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            assert (await world.save("step-1", by_rank(range(3), 1)))["world_size"] == 3
            assert await world.save("step-2", by_rank((0, 2), 2), seconds=3600) == {}
            (shown,) = [c for c in world.machine.guard.replicator.view.value.checkpoints if c.name == "step-2"]
            assert shown.state.value == "writing"
            assert "rank_1.pt" in (shown.why or "")

    run_virtual(story())


def test_another_world_size_is_believed_when_it_comes_twice_and_recorded() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            await world.save("step-1", by_rank(range(4), 1))
            assert await world.save("step-2", by_rank(range(2), 2)) == {}
            assert (await world.save("step-3", by_rank(range(2), 3)))["world_size"] == 2
            assert world.newest() == "step-3"

    run_virtual(story())


def test_after_a_restart_the_last_commit_still_tells_what_the_run_saves() -> None:
    async def story() -> None:
        world = World()
        async with world.machine.on():
            await world.save("step-1", by_rank(range(2), 1))
        world.machine = Machine(world.bucket, clock=world.clock, disk=world.machine.disk)
        async with world.machine.on():
            assert await world.save("step-2", by_rank(range(1), 2)) == {}
            assert (await world.save("step-2", by_rank(range(2), 2)))["world_size"] == 2

    run_virtual(story())


def test_deepspeed_is_committed_with_the_pointer_that_names_it() -> None:
    async def story() -> None:
        world = World()
        disk = world.machine.disk
        async with world.machine.on():
            for step in (100, 200):
                assert await world.save(f"run/global_step{step}", zero(2, step), seconds=30) == {}
                disk.write("run/latest", b"global_step%d" % step)
                world.machine.guard.schedule.hint("run/latest")
                manifest = await world.save(f"run/global_step{step}", {}, seconds=30)
                assert (manifest["layout"], manifest["complete_by"], manifest["world_size"]) == ("deepspeed", "marker", 2)
                companion = next(c for c in manifest["companions"] if c["path"] == "run/latest")
                assert companion["content"] == {100: "Z2xvYmFsX3N0ZXAxMDA=", 200: "Z2xvYmFsX3N0ZXAyMDA="}[step]
            assert KEYS.absolute("run/latest") in world.bucket.objects

    run_virtual(story())


def test_a_link_to_the_newest_is_stored_as_a_link_and_its_content_once() -> None:
    async def story() -> None:
        world = World()
        disk = world.machine.disk
        async with world.machine.on():
            for step in (10, 20):
                disk.write(f"epoch=0-step={step}.ckpt", torch_zip(b"weights %d" % step))
                disk.link("last.ckpt", f"epoch=0-step={step}.ckpt")
                world.machine.guard.schedule.hint(None)
                await asyncio.sleep(30)
            manifests = {m["name"]: m for m in world.machine.manifests().values()}
            assert set(manifests) == {"epoch=0-step=10.ckpt", "epoch=0-step=20.ckpt"}
            assert manifests["epoch=0-step=20.ckpt"]["links_beside"] == [{"path": "last.ckpt", "target": "epoch=0-step=20.ckpt"}]
            assert KEYS.absolute("last.ckpt") not in world.bucket.objects

    run_virtual(story())
