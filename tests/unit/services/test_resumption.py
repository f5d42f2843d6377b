"""Before training goes on: the previous holder has finished, this machine stays, and the newest is found with few requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from spotguard.core.claim import encode_claim, encode_draining, encode_release
from spotguard.core.manifest import Host
from spotguard.core.notice import Notice, NoticeKind, Sighting
from spotguard.ports.metadata_service import MetadataUnavailable
from spotguard.services.restore.catalogue import Catalogue
from spotguard.services.restore.resumption import Handover, finished_note, pending_notice
from tests.support.committed_run import CommittedRun, hf_files
from tests.support.faulty_store import Faults, FaultyStore
from tests.support.memory_store import MemoryBucket, MemoryStore
from tests.support.virtual_time import START, VirtualClock, run_virtual
from tests.support.way_back import KEYS

HERE, OTHER = Host("here", "i-here"), Host("other", "i-other")


class Overlap:
    """Claims of two hosts under virtual time."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.bucket = MemoryBucket(self.clock)
        self.store = MemoryStore(self.bucket, self.clock)
        self.said: list[str] = []

    async def claim(self, number: int, host: Host) -> None:
        body = encode_claim(number, nonce="n", host=host, claimed_at=self.clock.wall(), pid=1, version="0")
        await self.store.create(KEYS.claim(number), body)

    async def drain(self, number: int, seconds: float) -> None:
        deadline = datetime.fromtimestamp(self.clock.wall().timestamp() + seconds, UTC)
        await self.store.replace(KEYS.claim(number, "draining"), encode_draining(number, nonce="n", deadline=deadline))

    async def release(self, number: int) -> None:
        body = encode_release(number, nonce="n", held=True, released_at=self.clock.wall())
        await self.store.create(KEYS.claim(number, "released"), body)

    async def wait(self, *, patient: bool) -> float:
        """How many seconds it took."""
        began = self.clock.monotonic()
        await Handover(self.store, KEYS, self.clock, HERE).wait(patient=patient, say=self.said.append)
        return self.clock.monotonic() - began


async def nothing(overlap: Overlap) -> None:
    pass


async def of_this_host(overlap: Overlap) -> None:
    await overlap.claim(1, HERE)


async def released(overlap: Overlap) -> None:
    await overlap.claim(1, OTHER)
    await overlap.release(1)


async def silent(overlap: Overlap) -> None:
    await overlap.claim(1, OTHER)


async def draining(overlap: Overlap) -> None:
    await overlap.claim(1, OTHER)
    await overlap.claim(2, HERE)
    await overlap.drain(1, 60)


@pytest.mark.parametrize(
    ("before", "patient", "least", "most"),
    [
        (nothing, True, 0, 1),
        (of_this_host, True, 0, 1),
        (released, True, 0, 1),
        (silent, False, 0, 1),
        (silent, True, 30, 33),
        (draining, True, 75, 78),
        (draining, False, 75, 78),
    ],
)
def test_how_long_a_holder_is_waited_for(before: Callable[[Overlap], Awaitable[None]], patient: bool, least: float, most: float) -> None:
    async def main() -> None:
        overlap = Overlap()
        await before(overlap)
        assert least <= await overlap.wait(patient=patient) <= most
        assert len(overlap.said) == (1 if least else 0)

    run_virtual(main())


def test_a_drain_that_ends_early_is_not_waited_for_any_longer() -> None:
    import asyncio

    async def main() -> None:
        overlap = Overlap()
        await draining(overlap)

        async def finish() -> None:
            await asyncio.sleep(20)
            await overlap.release(1)

        finishing = asyncio.create_task(finish())
        assert 20 <= await overlap.wait(patient=True) <= 23
        assert overlap.said == ["waiting until i-other (other) finishes its drain"]
        await finishing

    run_virtual(main())


class Service:
    def __init__(self, *notices: Notice, fails: bool = False) -> None:
        self.notices, self.fails = notices, fails

    async def poll(self) -> Sighting:
        if self.fails:
            raise MetadataUnavailable("no answer")
        return Sighting(self.notices)

    async def identity(self) -> object:
        raise NotImplementedError


def notice(kind: NoticeKind, seconds: float | None = 60) -> Notice:
    now = START.timestamp()
    return Notice(kind, None if seconds is None else now + seconds, now)


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (None, None),
        (Service(), None),
        (Service(fails=True), None),
        (Service(notice(NoticeKind.TERMINATE)), "this instance will be terminated in 60 s"),
        (Service(notice(NoticeKind.REBALANCE)), None),
        (Service(notice(NoticeKind.MAINTENANCE, 3600)), None),
        (Service(notice(NoticeKind.MAINTENANCE, 100)), "this instance will go into maintenance in 100 s"),
        (Service(notice(NoticeKind.SCALE_IN, None)), "this instance will be taken out of its group"),
    ],
)
async def test_which_notices_keep_the_trainer_from_being_started(service: Service | None, expected: str | None) -> None:
    assert await pending_notice(service) == expected  # type: ignore[arg-type]


async def test_a_rebalance_that_drains_counts_as_a_notice() -> None:
    assert await pending_notice(Service(notice(NoticeKind.REBALANCE)), rebalance_drains=True) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "expected"),
    [(None, None), (b'{"finished_at": "2026-11-23T20:00:00Z"}', "at 2026-11-23T20:00:00Z"), (b"[]", "earlier"), (b"{", "earlier")],
)
async def test_a_finished_run_is_told_by_its_record(body: bytes | None, expected: str | None) -> None:
    store = MemoryStore(MemoryBucket())
    if body is not None:
        await store.create(KEYS.finished, body)
    assert await finished_note(store, KEYS) == expected


async def test_the_newest_of_a_thousand_is_found_with_three_requests() -> None:
    bucket, faults = MemoryBucket(), Faults()
    run = CommittedRun(MemoryStore(bucket), KEYS)
    for step in range(1000):
        await run.commit(f"checkpoint-{step}", {"trainer_state.json": b"{}"})
    catalogue = Catalogue(FaultyStore(MemoryStore(bucket), faults), KEYS)
    newest = (await catalogue.list_manifests())[0]
    manifest = await catalogue.read_manifest(newest)
    assert await catalogue.absent_objects(manifest) == {}
    assert (manifest.name, sum(faults.calls.values())) == ("checkpoint-999", 3)


async def test_objects_that_a_commit_shares_with_an_earlier_one_are_looked_for_where_they_are() -> None:
    bucket = MemoryBucket()
    run = CommittedRun(MemoryStore(bucket), KEYS)
    await run.commit("checkpoint-1", {**hf_files(1), **{f"part-{n}": b"x" for n in range(9)}})
    from dataclasses import replace

    shared = await run.commit("checkpoint-2", {f"part-{n}": b"x" for n in range(9)})
    shared = replace(shared, files=tuple(replace(file, key=f"checkpoint-1/{file.path}") for file in shared.files))
    catalogue = Catalogue(MemoryStore(bucket), KEYS)
    assert await catalogue.absent_objects(shared) == {}
    bucket.remove(KEYS.absolute("checkpoint-1/part-3"))
    assert list(await catalogue.absent_objects(shared)) == [KEYS.absolute("checkpoint-1/part-3")]
