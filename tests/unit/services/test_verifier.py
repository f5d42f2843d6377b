"""Verify reads every byte that a commit names, and names what is wrong."""

from __future__ import annotations

import pytest

from spotguard.adapters.disk.null_destination import NullDestination
from spotguard.ports.object_store import StoreUnavailable
from spotguard.services.restore.recovery_errors import NothingToRestore
from spotguard.services.restore.verifier import Verifier, VerifyOutcome
from tests.support.committed_run import CommittedRun, hf_files
from tests.support.faulty_store import Fault, Faults, FaultyTransfer
from tests.support.memory_store import MemoryBucket, MemoryStore, MemoryTransfer
from tests.support.way_back import KEYS


class Place:
    def __init__(self) -> None:
        self.bucket = MemoryBucket()
        self.run = CommittedRun(MemoryStore(self.bucket), KEYS)
        self.faults = Faults()

    async def verify(self, name: str | None = None) -> VerifyOutcome:
        transfer = FaultyTransfer(MemoryTransfer(self.bucket), self.faults)
        verifier = Verifier(MemoryStore(self.bucket), transfer, KEYS, NullDestination(), part_bytes=1000, concurrency=3)
        return await verifier.verify(name)

    def damage(self, key: str, body: bytes | None) -> None:
        self.bucket.remove(KEYS.absolute(key))
        if body is not None:
            self.bucket.write("damage", KEYS.absolute(key), body, {}, only_new=True)


@pytest.fixture
async def place() -> Place:
    place = Place()
    await place.run.commit("checkpoint-50", hf_files(50))
    await place.run.commit("checkpoint-100", hf_files(100))
    return place


async def test_a_sound_run_is_read_whole(place: Place) -> None:
    outcome = await place.verify()
    assert [(c.name, c.sound) for c in outcome.checkpoints] == [("checkpoint-100", True), ("checkpoint-50", True)]
    assert outcome.damages == ()
    assert outcome.bytes_read == sum(len(body) for step in (50, 100) for body in hf_files(step).values())


async def test_every_damage_is_named_with_its_object_and_checkpoint(place: Place) -> None:
    model = bytearray(hf_files(100)["model.safetensors"])
    model[1500] ^= 4
    place.damage("checkpoint-100/model.safetensors", bytes(model))
    place.damage("checkpoint-100/trainer_state.json", None)
    place.damage("checkpoint-50/config.json", b"{} ")
    outcome = await place.verify()
    assert {(d.name, d.reason.split("run1/")[1].split(" ")[0]) for d in outcome.damages} == {
        ("checkpoint-100", "checkpoint-100/model.safetensors"),
        ("checkpoint-100", "checkpoint-100/trainer_state.json"),
        ("checkpoint-50", "checkpoint-50/config.json"),
    }
    assert [c.sound for c in outcome.checkpoints] == [False, False]


async def test_only_the_one_that_was_asked_for_is_read(place: Place) -> None:
    place.damage("checkpoint-50/config.json", None)
    assert (await place.verify("checkpoint-100")).damages == ()
    with pytest.raises(NothingToRestore, match="no committed checkpoint nope; it has checkpoint-50, checkpoint-100"):
        await place.verify("nope")


async def test_a_manifest_that_can_not_be_read_is_a_damage(place: Place) -> None:
    manifest = await place.run.commit("checkpoint-150", hf_files(150))
    place.damage(KEYS.relative(place.run.manifest_key(manifest)), b"{")
    outcome = await place.verify()
    assert [(d.name, "is not JSON" in d.reason) for d in outcome.damages] == [("checkpoint-150", True)]


async def test_nothing_committed_is_nothing_damaged() -> None:
    outcome = await Place().verify()
    assert (outcome.checkpoints, outcome.damages) == ((), ())


async def test_a_store_that_does_not_answer_is_no_damage(place: Place) -> None:
    place.faults.plan("fetch", Fault.NONE, Fault.UNAVAILABLE)
    with pytest.raises(StoreUnavailable):
        await place.verify()
