"""Adoption over a bucket in memory: what changes under our hands, and what cannot be read."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from awscrt.checksums import crc64nvme

from spotguard.adapters.disk.null_destination import NullDestination
from spotguard.adapters.structure.object_inspector import RangedObjectInspector
from spotguard.core.manifest import Host
from spotguard.core.manifest_format import decode
from spotguard.core.run_keys import RunKeys
from spotguard.ports.object_store import ObjectFacts, StoreUnavailable
from spotguard.ports.progress import SilentProgress
from spotguard.services.adoption.adoption import Adoption, AdoptOutcome
from spotguard.services.adoption.object_sums import ObjectSums
from spotguard.services.restore.recovery_errors import NothingToRestore
from tests.support.committed_run import hf_files
from tests.support.memory_store import MemoryBucket, MemoryStore, MemoryTransfer
from tests.support.way_back import WallClock

KEYS = RunKeys("bucket", "run1")


def put(bucket: MemoryBucket, name: str, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        bucket.write("put", KEYS.absolute(f"{name}/{path}"), content, {}, only_new=False)


class StoreWithHands(MemoryStore):
    """`meanwhile` is done once, after the first HEAD: somebody else's hands in the bucket."""

    meanwhile: Callable[[], None] | None = None

    async def head(self, key: str) -> ObjectFacts:
        facts = await super().head(key)
        if self.meanwhile is not None:
            act, self.meanwhile = self.meanwhile, None
            act()
        return facts


def adoption(bucket: MemoryBucket, store: MemoryStore | None = None, *, part_bytes: int = 1000) -> Adoption:
    store, transfer = store or MemoryStore(bucket), MemoryTransfer(bucket)
    sums = ObjectSums(store, transfer, KEYS, NullDestination(), SilentProgress(), part_bytes=part_bytes, concurrency=3)
    return Adoption(
        store,
        RangedObjectInspector(transfer),
        sums,
        KEYS,
        WallClock(),
        Host("new", "i-1"),
        layout="auto",
        settle_seconds=0.0,
        leaves_out=lambda path: path.endswith(".log"),
    )


def manifests(bucket: MemoryBucket) -> list[str]:
    return [key for key in bucket.objects if key.startswith(KEYS.manifests)]


@pytest.mark.parametrize("keeps_checksums", [True, False])
async def test_every_checksum_is_that_of_the_bytes(keeps_checksums: bool) -> None:
    bucket = MemoryBucket(keeps_checksums=keeps_checksums)
    files = hf_files(7, size=5001)
    put(bucket, "checkpoint-7", files | {"debug.log": b"left out"})
    outcome = await adoption(bucket).adopt()
    assert [one.name for one in outcome.adopted] == ["checkpoint-7"]
    [key] = manifests(bucket)
    manifest = decode(bucket.get(key).body)
    assert {f.path: f.crc64nvme for f in manifest.files} == {
        path: base64.b64encode(crc64nvme(content).to_bytes(8)).decode() for path, content in files.items()
    }
    assert manifest.excluded == ("debug.log",)


@pytest.mark.parametrize("change", ["other bytes", "deleted"])
async def test_what_changes_meanwhile_is_refused_and_nothing_committed(change: str) -> None:
    bucket = MemoryBucket()
    put(bucket, "checkpoint-7", hf_files(7))
    store = StoreWithHands(bucket)

    def hands() -> None:
        key = KEYS.absolute("checkpoint-7/model.safetensors")
        if change == "deleted":
            bucket.remove(key)
        else:
            put(bucket, "checkpoint-7", {"model.safetensors": hf_files(8)["model.safetensors"]})

    store.meanwhile = hands
    outcome: AdoptOutcome = await adoption(bucket, store).adopt()
    [(name, reason)] = outcome.refused
    assert name == "checkpoint-7"
    assert "stop what writes here" in reason
    assert manifests(bucket) == []


async def test_a_store_that_fails_in_the_middle_leaves_whole_commits_and_a_second_call_goes_on() -> None:
    bucket = MemoryBucket()
    for step in (5, 6):
        put(bucket, f"checkpoint-{step}", hf_files(step))
    store = StoreWithHands(bucket)
    created = 0

    class Failing(MemoryStore):
        async def create(self, key: str, body: bytes, **more: object) -> object:  # type: ignore[override]
            nonlocal created
            created += key.startswith(KEYS.manifests)
            if created == 2:
                created = 3
                raise StoreUnavailable("down")
            return await super().create(key, body, **more)  # type: ignore[arg-type]

    with pytest.raises(StoreUnavailable):
        await adoption(bucket, Failing(bucket)).adopt()
    assert len(manifests(bucket)) == 1
    outcome = await adoption(bucket, store).adopt()
    assert (len(outcome.adopted), len(outcome.already)) == (1, 1)


async def test_a_thousand_files_are_held_open_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = MemoryBucket(keeps_checksums=False)
    put(bucket, "checkpoint-7", hf_files(7) | {f"shard-{n:04}.npy": b"x" * 10 for n in range(1000)})
    opened = most = 0

    class Counted(NullDestination):
        async def open(self, path: str) -> int:
            nonlocal opened, most
            opened += 1
            most = max(most, opened)
            return await super().open(path)

        async def close(self, path: str, fd: int, *, durable: bool) -> None:
            nonlocal opened
            opened -= 1
            await super().close(path, fd, durable=durable)

    found = adoption(bucket)
    found._sums._nowhere = Counted()
    outcome = await found.adopt()
    assert outcome.adopted[0].files == 1000 + len(hf_files(7))
    assert (opened, most <= 8) == (0, True)


async def test_an_empty_prefix_has_nothing_to_adopt() -> None:
    with pytest.raises(NothingToRestore, match="nothing that looks like a checkpoint"):
        await adoption(MemoryBucket()).adopt()
