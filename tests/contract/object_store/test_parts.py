"""Bytes of files: whole, in parts, and back again; the sums are those of the bytes that went."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme

from spotguard.ports.object_store import ChecksumRefused, ObjectExists, ObjectMissing, StoreRejected, StoreUnavailable, UploadMissing
from spotguard.ports.part_transfer import FileShrank, SentObject, SentPart, Slice, Upload
from tests.contract.object_store.benches import MIB, Bench

PART = 5 * MIB


class Source:
    """A file with known random bytes, open for reading and writing."""

    def __init__(self, path: Path, size: int) -> None:
        self.content = os.urandom(size)
        path.write_bytes(self.content)
        self.fd = os.open(path, os.O_RDWR)

    def part(self, number: int) -> Slice:
        at = (number - 1) * PART
        return Slice(self.fd, at, min(PART, len(self.content) - at))

    @property
    def whole(self) -> Slice:
        return Slice(self.fd, 0, len(self.content))


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    made = Source(tmp_path / "model.safetensors", 2 * PART + 12_345)
    yield made
    os.close(made.fd)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


async def upload(bench: Bench, key: str, source: Source) -> tuple[Upload, list[SentPart]]:
    """A multipart upload with all three parts sent, at once."""
    opened = await bench.transfer.begin(key, metadata={"spotguard-run": "s3://b/run"})
    return opened, list(await asyncio.gather(*(bench.transfer.send_part(opened, n, source.part(n)) for n in (1, 2, 3))))


async def test_a_slice_is_put_whole_with_its_sum_and_metadata(bench: Bench, source: Source) -> None:
    told: list[int] = []
    sent = await bench.transfer.put(
        "run/ü b/x@2", Slice(source.fd, 1000, 70_000), only_new=True, metadata={"spotguard-run": "s3://b/run"}, progress=told.append
    )
    facts = await bench.store.head("run/ü b/x@2")
    assert await bench.store.read("run/ü b/x@2") == source.content[1000:71_000]
    assert sent == SentObject("run/ü b/x@2", 70_000, facts.etag, crc64nvme(source.content[1000:71_000]))
    assert dict(facts.metadata) == {"spotguard-run": "s3://b/run"}
    assert facts.crc64nvme == (sent.crc64nvme if bench.quirks.keeps_crc64nvme else None)
    assert sum(told) == 70_000


async def test_an_empty_file_is_put_and_fetched(bench: Bench, source: Source, target: int) -> None:
    sent = await bench.transfer.put("empty", Slice(source.fd, 0, 0), only_new=True, metadata={})
    assert (sent.size, sent.crc64nvme, (await bench.store.head("empty")).size) == (0, 0, 0)
    assert await bench.transfer.fetch("empty", Slice(target, 0, 0)) == 0
    with pytest.raises(ObjectMissing):
        await bench.transfer.fetch("missing", Slice(target, 0, 0))


async def test_put_only_new_refuses_a_taken_key_and_put_overwrites_it(bench: Bench, source: Source) -> None:
    first = await bench.transfer.put("k", Slice(source.fd, 0, 10), only_new=True, metadata={})
    with pytest.raises(ObjectExists, match="k"):
        await bench.transfer.put("k", Slice(source.fd, 10, 10), only_new=True, metadata={})
    assert (await bench.store.head("k")).etag == first.etag
    await bench.transfer.put("k", Slice(source.fd, 20, 30), only_new=False, metadata={})
    assert await bench.store.read("k") == source.content[20:50]


async def test_parts_become_one_object_with_the_combined_sum(bench: Bench, source: Source, target: int) -> None:
    opened, parts = await upload(bench, "run/ünï/model 1.bin", source)
    assert bench.transfer.combine([(part.crc64nvme, part.size) for part in parts]) == crc64nvme(source.content)
    sent = await bench.transfer.complete(opened, parts, only_new=True)
    facts = await bench.store.head("run/ünï/model 1.bin")
    assert sent == SentObject("run/ünï/model 1.bin", len(source.content), facts.etag, crc64nvme(source.content))
    assert (facts.size, dict(facts.metadata)) == (sent.size, {"spotguard-run": "s3://b/run"})
    assert facts.crc64nvme == (sent.crc64nvme if bench.quirks.keeps_crc64nvme else None)
    assert await bench.transfer.fetch(sent.key, Slice(target, 0, sent.size), etag=sent.etag) == sent.crc64nvme
    assert os.pread(target, sent.size + 1, 0) == source.content
    assert await bench.transfer.unfinished("run/") == []


async def test_an_open_upload_is_found_again_with_its_parts(bench: Bench, source: Source) -> None:
    opened, parts = await upload(bench, "run/a b", source)
    other = await bench.transfer.begin("other", metadata={})
    (found,) = await bench.transfer.unfinished("run/")
    assert (found.key, found.upload_id) == (opened.key, opened.upload_id)
    assert found.initiated is not None
    listed = await bench.transfer.parts(found)
    assert [(part.number, part.size, part.etag) for part in listed] == [(part.number, part.size, part.etag) for part in parts]
    sums = [part.crc64nvme for part in parts] if bench.quirks.lists_part_sums else [None] * 3
    assert [part.crc64nvme for part in listed] == sums
    await bench.transfer.complete(found, parts, only_new=True)
    assert [one.upload_id for one in await bench.transfer.unfinished("")] == [other.upload_id]


async def test_a_part_sent_again_replaces_the_first(bench: Bench, source: Source) -> None:
    opened = await bench.transfer.begin("k", metadata={})
    await bench.transfer.send_part(opened, 1, Slice(source.fd, 7, 100))
    again = await bench.transfer.send_part(opened, 1, Slice(source.fd, 0, 200))
    sent = await bench.transfer.complete(opened, [again], only_new=True)
    assert (sent.size, await bench.store.read("k")) == (200, source.content[:200])


async def test_an_aborted_upload_is_gone_and_aborting_again_is_no_error(bench: Bench, source: Source) -> None:
    opened, parts = await upload(bench, "k", source)
    await bench.transfer.abort(opened)
    await bench.transfer.abort(opened)
    assert await bench.transfer.unfinished("") == []
    with pytest.raises(UploadMissing):
        await bench.transfer.parts(opened)
    with pytest.raises(UploadMissing if bench.quirks.tells_parts_of_missing_uploads else StoreUnavailable):
        await bench.transfer.send_part(opened, 1, source.part(1))
    with pytest.raises(UploadMissing if bench.quirks.tells_completes_of_missing_uploads else StoreUnavailable):
        await bench.transfer.complete(opened, parts, only_new=True)


async def test_completing_again_says_that_the_upload_is_gone(bench: Bench, source: Source) -> None:
    opened, parts = await upload(bench, "k", source)
    first = await bench.transfer.complete(opened, parts, only_new=False)
    if not bench.quirks.forgets_completed_uploads:
        assert await bench.transfer.complete(opened, parts, only_new=False) == first
        return
    with pytest.raises(UploadMissing):
        await bench.transfer.complete(opened, parts, only_new=False)


async def test_complete_only_new_refuses_a_taken_key(bench: Bench, source: Source) -> None:
    opened, parts = await upload(bench, "k", source)
    await bench.store.create("k", b"there first")
    if not bench.quirks.complete_only_new:
        assert (await bench.transfer.complete(opened, parts, only_new=True)).size == len(source.content)
        return
    with pytest.raises(ObjectExists):
        await bench.transfer.complete(opened, parts, only_new=True)
    assert await bench.store.read("k") == b"there first"


async def test_a_wrong_sum_of_the_whole_is_refused(bench: Bench, source: Source) -> None:
    opened, parts = await upload(bench, "k", source)
    wrong = [*parts[:2], parts[2]._replace(crc64nvme=parts[2].crc64nvme ^ 1)]
    if not bench.quirks.proves_the_whole:
        assert (await bench.transfer.complete(opened, wrong, only_new=True)).size == len(source.content)
        return
    with pytest.raises(ChecksumRefused):
        await bench.transfer.complete(opened, wrong, only_new=True)
    with pytest.raises(ObjectMissing):
        await bench.store.head("k")


async def test_a_small_part_before_the_last_and_a_foreign_etag_are_refused(bench: Bench, source: Source) -> None:
    opened = await bench.transfer.begin("k", metadata={})
    small = await bench.transfer.send_part(opened, 1, Slice(source.fd, 0, 100))
    last = await bench.transfer.send_part(opened, 2, Slice(source.fd, 100, 100))
    with pytest.raises(StoreRejected):
        await bench.transfer.complete(opened, [small, last], only_new=True)
    with pytest.raises(StoreRejected):
        await bench.transfer.complete(opened, [small._replace(etag="0" * 32)], only_new=True)


async def test_a_file_that_shrank_is_told_and_nothing_is_stored(bench: Bench, source: Source) -> None:
    os.ftruncate(source.fd, 1000)
    with pytest.raises(FileShrank):
        await bench.transfer.put("k", Slice(source.fd, 500, 1000), only_new=True, metadata={})
    with pytest.raises(ObjectMissing):
        await bench.store.head("k")


async def test_ranges_are_fetched_to_their_own_offsets(bench: Bench, source: Source, target: int) -> None:
    sent = await bench.transfer.put("k", Slice(source.fd, 0, 300_000), only_new=True, metadata={})
    told: list[int] = []
    cuts = [Slice(target, 0, 100_000), Slice(target, 100_000, 150_000), Slice(target, 250_000, 50_000)]
    sums = await asyncio.gather(*(bench.transfer.fetch("k", cut, etag=sent.etag, progress=told.append) for cut in cuts))
    assert bench.transfer.combine([(crc, cut.size) for crc, cut in zip(sums, cuts, strict=True)]) == sent.crc64nvme
    assert os.pread(target, 300_001, 0) == source.content[:300_000]
    assert sum(told) == 300_000


async def test_fetching_what_is_missing_changed_or_too_short_is_told(bench: Bench, source: Source, target: int) -> None:
    sent = await bench.transfer.put("k", Slice(source.fd, 0, 1000), only_new=True, metadata={})
    with pytest.raises(ObjectMissing):
        await bench.transfer.fetch("missing", Slice(target, 0, 10))
    with pytest.raises(StoreUnavailable, match="1000 of 2000"):
        await bench.transfer.fetch("k", Slice(target, 0, 2000))
    with pytest.raises(StoreRejected):
        await bench.transfer.fetch("k", Slice(target, 1000, 10))
    await bench.transfer.put("k", Slice(source.fd, 5000, 1000), only_new=False, metadata={})
    with pytest.raises(StoreRejected, match=r"another object|ETag"):
        await bench.transfer.fetch("k", Slice(target, 0, 1000), etag=sent.etag)


async def test_a_fetch_into_a_full_disk_is_the_local_error(bench: Bench, source: Source) -> None:
    await bench.transfer.put("k", Slice(source.fd, 0, 1000), only_new=True, metadata={})
    full = os.open("/dev/full", os.O_RDWR)
    try:
        with pytest.raises(OSError, match="No space left"):
            await bench.transfer.fetch("k", Slice(full, 0, 1000))
    finally:
        os.close(full)


async def test_a_cancelled_put_leaves_the_descriptor_free(bench: Bench, source: Source) -> None:
    for delay in (0.0, 0.001, 0.01, 0.03):
        sending = asyncio.create_task(bench.transfer.put(f"k{delay}", source.whole, only_new=True, metadata={}))
        await asyncio.sleep(delay)
        sending.cancel()
        await asyncio.wait([sending])
        assert sending.cancelled() or sending.result().size == len(source.content)
        for found in await bench.store.list(f"k{delay}"):
            assert found.size == len(source.content)
    assert os.pread(source.fd, 10, 0) == source.content[:10]
    assert (await bench.transfer.put("after", Slice(source.fd, 0, 10), only_new=True, metadata={})).size == 10


async def test_a_cap_is_kept_and_lifted_at_once(bench: Bench, source: Source) -> None:
    loop = asyncio.get_running_loop()
    bench.transfer.limit_rate(MIB)
    began = loop.time()
    puts = [bench.transfer.put(f"k{n}", Slice(source.fd, 0, MIB // 4), only_new=True, metadata={}) for n in range(3)]
    await asyncio.gather(*puts)  # each begins when those before have had their time; the last may leave at once
    assert loop.time() - began >= 0.45
    bench.transfer.limit_rate(1000.0)
    slow = asyncio.create_task(bench.transfer.put("slow", Slice(source.fd, 0, MIB), only_new=True, metadata={}))
    await asyncio.sleep(0.05)
    assert not slow.done()
    bench.transfer.limit_rate(None)
    async with asyncio.timeout(10):
        assert (await slow).size == MIB
