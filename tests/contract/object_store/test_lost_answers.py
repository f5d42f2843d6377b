"""The retry layer over the fake and the real servers: an answer that got lost is no failure and no conflict."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotguard.adapters.s3.retrying import RetryingStore, RetryingTransfer
from spotguard.core.backoff import RetryPolicy
from spotguard.ports.object_store import ObjectExists, StoreUnavailable
from spotguard.ports.part_transfer import Slice
from tests.contract.object_store.benches import MIB, Bench
from tests.support.faulty_store import Fault, Faults, FaultyStore, FaultyTransfer

QUICK = RetryPolicy(base_seconds=0.001)


class Unsteady:
    """A bench behind faults, and the retry layer before them."""

    def __init__(self, bench: Bench) -> None:
        self.faults = Faults()
        self.store = RetryingStore(FaultyStore(bench.store, self.faults), QUICK, lambda: None)
        self.transfer = RetryingTransfer(FaultyTransfer(bench.transfer, self.faults), self.store, QUICK, lambda: None)


@pytest.fixture
def unsteady(bench: Bench) -> Unsteady:
    return Unsteady(bench)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "source"
    path.write_bytes(os.urandom(5 * MIB + 1000))
    opened = os.open(path, os.O_RDONLY)
    yield opened
    os.close(opened)


async def test_a_create_whose_answer_got_lost_succeeds(bench: Bench, unsteady: Unsteady) -> None:
    unsteady.faults.plan("create", Fault.LOST_ANSWER, Fault.UNAVAILABLE)
    created = await unsteady.store.create("k", b"mine")
    assert created.etag == (await bench.store.head("k")).etag
    assert unsteady.store.retries_total == 2
    assert unsteady.faults.fired[Fault.LOST_ANSWER] == 1


async def test_a_create_that_met_another_s_object_is_refused(bench: Bench, unsteady: Unsteady) -> None:
    await bench.store.create("k", b"your")
    with pytest.raises(ObjectExists):
        await unsteady.store.create("k", b"mine")
    unsteady.faults.plan("create", Fault.UNAVAILABLE)
    with pytest.raises(ObjectExists):
        await unsteady.store.create("k", b"mine")
    assert await bench.store.read("k") == b"your"


async def test_equal_bytes_are_ours_only_when_an_attempt_went_unanswered(bench: Bench, unsteady: Unsteady) -> None:
    """Two daemons may claim with the same body; the one whose first attempt is refused must lose."""
    await bench.store.create("k", b"same")
    with pytest.raises(ObjectExists):
        await unsteady.store.create("k", b"same")


async def test_a_put_whose_answer_got_lost_succeeds_with_its_sum(bench: Bench, unsteady: Unsteady, fd: int) -> None:
    plain = await bench.transfer.put("plain", Slice(fd, 10, 70_000), only_new=True, metadata={})
    told: list[int] = []
    unsteady.faults.plan("put", Fault.LOST_ANSWER)
    sent = await unsteady.transfer.put("k", Slice(fd, 10, 70_000), only_new=True, metadata={}, progress=told.append)
    assert (sent.size, sent.crc64nvme) == (70_000, plain.crc64nvme)
    assert sent.etag == (await bench.store.head("k")).etag
    assert sum(told) == 70_000
    assert unsteady.transfer.retries_total == 1


async def test_a_put_that_met_other_content_is_refused(bench: Bench, unsteady: Unsteady, fd: int) -> None:
    await bench.transfer.put("k", Slice(fd, 0, 70_000), only_new=True, metadata={})
    with pytest.raises(ObjectExists):
        await unsteady.transfer.put("k", Slice(fd, 10, 70_000), only_new=True, metadata={})


async def test_a_complete_whose_answer_got_lost_succeeds(bench: Bench, unsteady: Unsteady, fd: int) -> None:
    unsteady.faults.plan("send_part", Fault.LOST_ANSWER)
    unsteady.faults.plan("complete", Fault.LOST_ANSWER)
    opened = await unsteady.transfer.begin("k", metadata={})
    cuts = [Slice(fd, 0, 5 * MIB), Slice(fd, 5 * MIB, 1000)]
    parts = [await unsteady.transfer.send_part(opened, number, cut) for number, cut in enumerate(cuts, 1)]
    sent = await unsteady.transfer.complete(opened, parts, only_new=True)
    facts = await bench.store.head("k")
    assert (sent.size, sent.etag) == (facts.size, facts.etag)
    assert sent.crc64nvme == unsteady.transfer.combine([(part.crc64nvme, part.size) for part in parts])
    assert unsteady.faults.fired[Fault.LOST_ANSWER] == 2


async def test_a_complete_that_met_other_content_is_refused(bench: Bench, unsteady: Unsteady, fd: int) -> None:
    if not bench.quirks.complete_only_new:
        pytest.skip(f"{bench.quirks.name} ignores If-None-Match on Complete")
    opened = await unsteady.transfer.begin("k", metadata={})
    part = await unsteady.transfer.send_part(opened, 1, Slice(fd, 0, 1000))
    await bench.store.create("k", b"x" * 1000)
    with pytest.raises(ObjectExists):
        await unsteady.transfer.complete(opened, [part], only_new=True)


async def test_an_outage_longer_than_the_attempts_is_told(bench: Bench, unsteady: Unsteady, fd: int) -> None:
    unsteady.faults.down = True
    with pytest.raises(StoreUnavailable):
        await unsteady.store.list("")
    assert unsteady.faults.calls["list"] == QUICK.attempts
    unsteady.faults.down = False
    assert await unsteady.store.list("") == []
