"""Each request of the data plane meets each fault of an endpoint: the bytes are right in the end, or the error has a name."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from awscrt.checksums import crc64nvme

from spotguard.adapters.s3.connection import Connection, connect
from spotguard.adapters.s3.retrying import RetryingStore, RetryingTransfer
from spotguard.adapters.s3.retrying_copies import RetryingCopies
from spotguard.core.backoff import RetryPolicy
from spotguard.ports.bulk_fetch import Wanted
from spotguard.ports.bulk_send import Offered
from spotguard.ports.object_store import ConcurrentWrite, ObjectExists, ObjectMissing, StoreError, StoreUnavailable
from spotguard.ports.part_transfer import SentPart, Slice, Upload
from tests.contract.object_store.conftest import make_bucket, moto_endpoint  # noqa: F401 - a fixture
from tests.faults.faulty_proxy import Fault, FaultyProxy, faulty_proxy
from tests.support.servers import Endpoint

pytestmark = pytest.mark.asyncio(loop_scope="module")

STALL_SECONDS = 0.3
BOUND_SECONDS = 8.0
"""Of everything, with all its attempts; the limits injected here make it much less."""
RUN = {"spotguard-run": "s3://b/run", "spotguard-checkpoint": "c-1"}


class Way:
    """The real adapters behind the proxy with the retry layer before them, and a sound way to look at the bucket beside it."""

    def __init__(self, behind: Connection, beside: Connection, proxy: FaultyProxy, source: Path) -> None:
        self.proxy = proxy
        self.sound = beside
        self._behind = behind
        self.bulk, self.bulk_send = behind.bulk, behind.bulk_send
        self.insist(5)
        self.content = os.urandom(700_000)
        source.write_bytes(self.content)
        self.fd = os.open(source, os.O_RDWR)
        self.target = os.open(source.with_name("target"), os.O_RDWR | os.O_CREAT)

    def insist(self, attempts: int) -> None:
        """Try so often; more than one fault wants, since on a busy machine the stall limit also meets what is sound."""
        policy = RetryPolicy(attempts=attempts, base_seconds=0.001)
        self.store = RetryingStore(self._behind.store, policy, lambda: None)
        self.transfer = RetryingTransfer(self._behind.transfer, self._behind.store, policy, lambda: None)
        self.copies = RetryingCopies(self._behind.stored, self._behind.store, policy, limit_seconds=5.0)

    @property
    def body(self) -> Slice:
        return Slice(self.fd, 0, len(self.content))

    @property
    def crc(self) -> int:
        return int(crc64nvme(self.content))

    async def stored(self, key: str) -> bytes | None:
        try:
            return await self.sound.store.read(key)
        except ObjectMissing:
            return None

    async def upload(self, key: str, *, sent: bool = True) -> tuple[Upload, list[SentPart]]:
        opened = await self.sound.transfer.begin(key, metadata=RUN)
        return opened, [await self.sound.transfer.send_part(opened, 1, self.body)] if sent else []

    def close(self) -> None:
        os.close(self.fd)
        os.close(self.target)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connected(moto_endpoint: Endpoint) -> AsyncIterator[tuple[FaultyProxy, Connection, Connection]]:  # noqa: F811
    """The proxy, the way through it and the way beside it: made once, since making them costs more than the tests."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in moto_endpoint.environment().items():
            environment.setenv(name, value)
        settings = make_bucket(moto_endpoint)
        async with faulty_proxy(moto_endpoint.url) as (proxy, url), connect(settings) as beside:
            through = replace(settings, endpoint_url=url)
            async with connect(through, check=False, stall_seconds=STALL_SECONDS, patient_seconds=STALL_SECONDS) as behind:
                yield proxy, behind, beside


@pytest_asyncio.fixture(loop_scope="module")
async def way(connected: tuple[FaultyProxy, Connection, Connection], tmp_path: Path) -> AsyncIterator[Way]:
    proxy, behind, beside = connected
    proxy.heal()
    made = Way(behind, beside, proxy, tmp_path / "source")
    yield made
    made.close()
    for upload in await beside.transfer.unfinished(""):
        await beside.transfer.abort(upload)
    await beside.store.delete([stored.key for stored in await beside.store.list("")])


async def put(way: Way) -> None:
    sent = await way.transfer.put("k", way.body, only_new=True, metadata=RUN)
    assert (sent.crc64nvme, await way.stored("k")) == (way.crc, way.content)
    assert sent.etag == (await way.sound.store.head("k")).etag


async def create(way: Way) -> None:
    created = await way.store.create("k", way.content, metadata=RUN)
    assert await way.stored("k") == way.content
    assert created.etag == (await way.sound.store.head("k")).etag


async def begin(way: Way) -> None:
    upload = await way.transfer.begin("k", metadata=RUN)
    assert upload.upload_id in {one.upload_id for one in await way.sound.transfer.unfinished("k")}


async def send_part(way: Way) -> None:
    upload, _ = await way.upload("k", sent=False)
    part = await way.transfer.send_part(upload, 1, way.body)
    (listed,) = await way.sound.transfer.parts(upload)
    assert (part.crc64nvme, part.etag, part.size) == (way.crc, listed.etag, listed.size)
    await way.sound.transfer.complete(upload, [part], only_new=True)
    assert await way.stored("k") == way.content


async def complete(way: Way) -> None:
    upload, parts = await way.upload("k")
    sent = await way.transfer.complete(upload, parts, only_new=True)
    assert (sent.crc64nvme, await way.stored("k")) == (way.crc, way.content)
    assert sent.etag == (await way.sound.store.head("k")).etag


async def copy(way: Way) -> None:
    await way.sound.transfer.put("old", way.body, only_new=True, metadata={"spotguard-run": "old"})
    copied = await way.copies.copy("old", "k", size=len(way.content), crc64nvme=way.crc, metadata=RUN)
    facts = await way.sound.store.head("k")
    assert (copied.etag, dict(facts.metadata), await way.stored("k")) == (facts.etag, RUN, way.content)


async def copy_part(way: Way) -> None:
    await way.sound.transfer.put("old", way.body, only_new=True, metadata={"spotguard-run": "old"})
    upload, _ = await way.upload("k", sent=False)
    part = await way.copies.copy_part(upload, 1, "old", way.body, crc64nvme=way.crc)
    await way.sound.transfer.complete(upload, [part], only_new=True)
    assert await way.stored("k") == way.content


async def parts(way: Way) -> None:
    upload, sent = await way.upload("k")
    assert [part.etag for part in await way.transfer.parts(upload)] == [sent[0].etag]


async def unfinished(way: Way) -> None:
    upload, _ = await way.upload("k")
    assert [one.upload_id for one in await way.transfer.unfinished("k")] == [upload.upload_id]


async def fetch(way: Way) -> None:
    sent = await way.sound.transfer.put("k", way.body, only_new=True, metadata=RUN)
    assert await way.transfer.fetch("k", Slice(way.target, 0, sent.size), etag=sent.etag) == way.crc
    assert os.pread(way.target, sent.size + 1, 0) == way.content


async def listing(way: Way) -> None:
    await way.sound.store.create("k", b"1")
    await way.sound.store.create("k2", b"2")
    assert [stored.key for stored in await way.store.list("k")] == ["k", "k2"]


async def head(way: Way) -> None:
    await way.sound.store.create("k", b"123", metadata=RUN)
    facts = await way.store.head("k")
    assert (facts.size, dict(facts.metadata)) == (3, RUN)


async def read(way: Way) -> None:
    await way.sound.store.create("k", way.content)
    assert await way.store.read("k") == way.content


async def delete(way: Way) -> None:
    await way.sound.store.create("k", b"1")
    await way.sound.store.create("k2", b"2")
    await way.store.delete(["k", "k2"])
    assert await way.sound.store.list("k") == []


async def abort(way: Way) -> None:
    upload, _ = await way.upload("k")
    await way.transfer.abort(upload)
    assert await way.sound.transfer.unfinished("k") == []


@dataclass(frozen=True, slots=True)
class Verb:
    run: Callable[[Way], Awaitable[None]]
    operation: str
    creates: bool = False
    """A key, which must be free."""

    def __str__(self) -> str:
        return self.operation


VERBS = [
    Verb(put, "PutObject", creates=True),
    Verb(create, "PutObject", creates=True),
    Verb(begin, "CreateMultipartUpload"),
    Verb(send_part, "UploadPart"),
    Verb(complete, "CompleteMultipartUpload", creates=True),
    Verb(copy, "CopyObject", creates=True),
    Verb(copy_part, "UploadPartCopy"),
    Verb(parts, "ListParts"),
    Verb(unfinished, "ListMultipartUploads"),
    Verb(fetch, "GetObject"),
    Verb(listing, "ListObjectsV2"),
    Verb(head, "HeadObject"),
    Verb(read, "GetObject"),
    Verb(delete, "DeleteObjects"),
    Verb(abort, "AbortMultipartUpload"),
]
PASSING = [fault for fault in Fault if fault not in (Fault.CONFLICT, Fault.TAKEN, Fault.STALL_IN_BODY, Fault.TRICKLE)]
MATRIX = list(itertools.product(VERBS, PASSING))


def named(value: object) -> str | None:
    return value.run.__name__ if isinstance(value, Verb) else value.value if isinstance(value, Fault) else None


@pytest.mark.parametrize(("verb", "fault"), MATRIX, ids=named)
async def test_a_fault_that_passes_costs_a_repetition_and_nothing_else(way: Way, verb: Verb, fault: Fault) -> None:
    way.proxy.plan(verb.operation, fault)
    async with asyncio.timeout(BOUND_SECONDS):
        await verb.run(way)
    assert way.proxy.fired[fault] == 1, "the fault never fired"


@pytest.mark.parametrize(("verb", "fault"), [one for one in MATRIX if one[1] is not Fault.STALL_AFTER], ids=named)
async def test_a_fault_that_stays_has_a_name_and_an_end(way: Way, verb: Verb, fault: Fault) -> None:
    """Unless what was done at first, and told by half an answer, is seen to be done: `run` itself insists on the right bytes."""
    way.proxy.always[verb.operation] = fault
    way.insist(2)
    may_succeed = fault is Fault.TRUNCATED and (verb.creates or verb.run is abort)
    async with asyncio.timeout(BOUND_SECONDS):
        with contextlib.suppress(StoreUnavailable) if may_succeed else pytest.raises(StoreUnavailable):
            await verb.run(way)
    assert way.proxy.fired[fault] >= 2, "the fault never fired"


@pytest.mark.parametrize("verb", VERBS, ids=named)
@pytest.mark.parametrize("fault", [Fault.CONFLICT, Fault.TAKEN], ids=named)
async def test_a_conflict_is_told_or_tried_again_and_never_taken_for_a_success(way: Way, verb: Verb, fault: Fault) -> None:
    way.proxy.always[verb.operation] = fault
    async with asyncio.timeout(BOUND_SECONDS):
        with pytest.raises((ConcurrentWrite if fault is Fault.CONFLICT else ObjectExists) if verb.creates else StoreError):
            await verb.run(way)
    assert way.proxy.fired[fault] >= 1, "the fault never fired"
    if verb.creates:
        assert await way.stored("k") is None


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.run in (create, copy)], ids=named)
async def test_a_conflict_that_passes_is_tried_again_where_nothing_is_lost_with_it(way: Way, verb: Verb) -> None:
    way.proxy.plan(verb.operation, Fault.CONFLICT)
    async with asyncio.timeout(BOUND_SECONDS):
        await verb.run(way)
    assert way.proxy.fired[Fault.CONFLICT] == 1


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.run in (put, send_part)], ids=named)
async def test_a_store_that_stops_taking_a_body_is_left_for_another_connection(way: Way, verb: Verb) -> None:
    """The body does not fit into the kernel's buffers, so sending it stalls."""
    way.content = os.urandom(12_000_000)
    os.pwrite(way.fd, way.content, 0)
    way.proxy.plan(verb.operation, Fault.STALL_IN_BODY)
    async with asyncio.timeout(BOUND_SECONDS):
        await verb.run(way)
    assert way.proxy.fired[Fault.STALL_IN_BODY] == 1


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.run in (put, send_part, fetch)], ids=named)
async def test_a_part_that_is_much_slower_than_the_others_is_tried_again_on_another_connection(way: Way, verb: Verb) -> None:
    """It never stands still, so no timeout of the connection ends it; what the others took tells that it is lost."""
    way.content = os.urandom(4_000_000)
    os.pwrite(way.fd, way.content, 0)
    for number in range(2):
        await way.transfer.put(f"quick{number}", way.body, only_new=True, metadata=RUN)
        await way.transfer.fetch(f"quick{number}", Slice(way.target, 0, len(way.content)))
    way.proxy.plan(verb.operation, Fault.TRICKLE)
    async with asyncio.timeout(BOUND_SECONDS):
        await verb.run(way)
    assert way.proxy.fired[Fault.TRICKLE] == 1, "the fault never fired"


async def test_busy_in_bursts_slows_many_parts_down_and_spoils_none(way: Way) -> None:
    way.content = os.urandom(5 << 20)
    os.pwrite(way.fd, way.content, 0)
    upload, _ = await way.upload("k", sent=False)
    way.proxy.plan("UploadPart", *[Fault.BUSY] * 6, Fault.RESET_AFTER, Fault.BUSY)
    way.insist(9)
    async with asyncio.timeout(BOUND_SECONDS):
        parts = await asyncio.gather(*(way.transfer.send_part(upload, number, way.body) for number in range(1, 5)))
        await way.transfer.complete(upload, parts, only_new=True)
    assert (way.proxy.fired[Fault.BUSY], way.proxy.fired[Fault.RESET_AFTER]) == (7, 1)
    assert await way.stored("k") == way.content * 4


@pytest.mark.parametrize("fault", Fault, ids=named)
async def test_in_a_row_of_small_objects_only_what_is_there_is_told_and_the_rest_is_sent_alone(way: Way, fault: Fault) -> None:
    row = [Offered(f"row/{number}", Slice(way.fd, 9000 * number, 9000)) for number in range(12)]
    way.proxy.plan("PutObject", fault)
    async with asyncio.timeout(BOUND_SECONDS):
        answers = await way.bulk_send.send_all(row, metadata=RUN)
        assert way.proxy.fired[fault] == 1, "the fault never fired"
        assert None in answers or fault is Fault.TRICKLE
        for one, answer in zip(row, answers, strict=True):
            sent = answer or await way.transfer.put(one.key, one.body, only_new=True, metadata=RUN)
            assert await way.stored(one.key) == os.pread(way.fd, 9000, one.body.offset)
            assert (sent.etag, sent.size) == ((await way.sound.store.head(one.key)).etag, 9000)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.STALL_IN_BODY], ids=named)
async def test_of_a_row_that_is_fetched_nothing_wrong_counts_as_right(way: Way, fault: Fault) -> None:
    row = [Offered(f"row/{number}", Slice(way.fd, 9000 * number, 9000)) for number in range(12)]
    await asyncio.gather(*(way.sound.transfer.put(one.key, one.body, only_new=True, metadata=RUN) for one in row))
    way.proxy.plan("GetObject", fault)
    async with asyncio.timeout(BOUND_SECONDS):
        sums = await way.bulk.fetch_all([Wanted(one.key, one.body._replace(fd=way.target)) for one in row])
    assert way.proxy.fired[fault] == 1, "the fault never fired"
    assert None in sums or fault is Fault.TRICKLE
    for one, crc in zip(row, sums, strict=True):
        if crc is not None:
            assert crc == crc64nvme(os.pread(way.fd, 9000, one.body.offset)) == crc64nvme(os.pread(way.target, 9000, one.body.offset))
