"""Small objects: written whole, listed, read, deleted; conditions and what they refuse."""

from __future__ import annotations

import asyncio
import time

import pytest
from awscrt.checksums import crc64nvme

from spotguard.ports.object_store import ObjectExists, ObjectMissing, StoreRejected
from tests.contract.object_store.benches import Bench

STRANGE_KEYS = [
    "run 1/ünï/检查点-100/model.safetensors@2",
    "run 1/a+b=c&d?e#f%20g;h,i.json",
    "run 1/~'\"()*!$:<>[]{}|^`\\.bin",
    "run 1//double//slash",
    "run 1/🤗/x",
]


async def test_a_created_object_reads_back_with_its_facts(bench: Bench) -> None:
    body, metadata = b"manifest", {"spotguard-run": "s3://b/run", "spotguard-checkpoint": "sft/checkpoint-100"}
    created = await bench.store.create("run/a.json", body, metadata=metadata)
    facts = await bench.store.head("run/a.json")
    assert await bench.store.read("run/a.json") == body
    assert (created.key, created.size, created.etag) == ("run/a.json", len(body), facts.etag)
    assert (facts.size, dict(facts.metadata)) == (len(body), metadata)
    assert facts.crc64nvme == (crc64nvme(body) if bench.quirks.keeps_crc64nvme else None)
    assert abs(facts.modified - time.time()) < 30
    assert '"' not in facts.etag


@pytest.mark.parametrize("key", STRANGE_KEYS)
async def test_any_utf8_key_works_with_every_verb(bench: Bench, key: str) -> None:
    await bench.store.create(key, b"x")
    await bench.store.replace(key, b"yy")
    assert (await bench.store.head(key)).size == 2
    assert await bench.store.read(key) == b"yy"
    assert [found.key for found in await bench.store.list("run 1/")] == [key]
    await bench.store.delete([key])
    assert await bench.store.list("") == []


async def test_an_empty_object_is_an_object(bench: Bench) -> None:
    await bench.store.create("empty", b"")
    assert await bench.store.read("empty") == b""
    assert (await bench.store.head("empty")).size == 0


async def test_creating_what_exists_is_refused_and_changes_nothing(bench: Bench) -> None:
    first = await bench.store.create("claim", b"mine")
    with pytest.raises(ObjectExists, match="claim"):
        await bench.store.create("claim", b"yours")
    assert await bench.store.read("claim") == b"mine"
    assert (await bench.store.head("claim")).etag == first.etag


async def test_of_many_who_create_at_once_exactly_one_wins(bench: Bench) -> None:
    tries = await asyncio.gather(*(bench.store.create("claim", f"{n}".encode()) for n in range(6)), return_exceptions=True)
    won = [n for n, outcome in enumerate(tries) if not isinstance(outcome, BaseException)]
    assert len(won) == 1
    assert await bench.store.read("claim") == f"{won[0]}".encode()


async def test_replacing_takes_the_last(bench: Bench) -> None:
    first = await bench.store.replace("last_sync.json", b"1")
    second = await bench.store.replace("last_sync.json", b"2")
    assert await bench.store.read("last_sync.json") == b"2"
    assert first.etag != second.etag


async def test_what_is_missing_is_said_to_be_missing(bench: Bench) -> None:
    with pytest.raises(ObjectMissing, match="nothing/here"):
        await bench.store.head("nothing/here")
    with pytest.raises(ObjectMissing):
        await bench.store.read("nothing/here")


async def test_an_object_larger_than_allowed_is_not_read(bench: Bench) -> None:
    await bench.store.create("big", b"x" * 101)
    with pytest.raises(StoreRejected, match="101"):
        await bench.store.read("big", max_bytes=100)
    assert len(await bench.store.read("big", max_bytes=101)) == 101


async def test_deleting_is_done_whether_it_was_there_or_not(bench: Bench) -> None:
    for key in ("a b", "ü", "c"):
        await bench.store.create(key, b"x")
    await bench.store.delete(["a b", "ü", "never was"])
    assert [found.key for found in await bench.store.list("")] == ["c"]
    await bench.store.delete(["c"])
    await bench.store.delete(["c"])
    await bench.store.delete([])
    assert await bench.store.list("") == []


async def test_a_listing_is_sorted_by_bytes_and_bounded_by_prefix_start_and_limit(bench: Bench) -> None:
    keys = ["p/Z", "p/a", "p/a/b", "p/a-b", "p/é", "p/￮", "p/𝔘", "q/x"]
    for key in keys:
        await bench.store.create(key, b"12")
    inside = sorted(keys[:-1], key=str.encode)
    found = await bench.store.list("p/")
    assert [one.key for one in found] == inside
    assert {one.size for one in found} == {2}
    if bench.quirks.starts_after_by_bytes:
        assert [one.key for one in await bench.store.list("p/", start_after=inside[2])] == inside[3:]
        assert [one.key for one in await bench.store.list("p/", start_after=inside[4])] == inside[5:]
    assert [one.key for one in await bench.store.list("p/", limit=2)] == inside[:2]
    assert [one.key for one in await bench.store.list("p/", start_after=inside[0], limit=3)] == inside[1:4]
    assert await bench.store.list("p/a/b/") == []


async def test_listing_and_heading_tell_the_same(bench: Bench) -> None:
    await bench.store.create("one", b"abc")
    (listed,), facts = await bench.store.list("one"), await bench.store.head("one")
    assert (listed.key, listed.size, listed.etag) == (facts.key, facts.size, facts.etag)
    assert abs(listed.modified - facts.modified) < 1.0


async def test_a_listing_goes_on_beyond_a_page(bench: Bench) -> None:
    keys = [f"many/{n:05d}" for n in range(1005)]
    for at in range(0, len(keys), 40):
        await asyncio.gather(*(bench.store.create(key, b"") for key in keys[at : at + 40]))
    assert [found.key for found in await bench.store.list("many/")] == keys
    assert [found.key for found in await bench.store.list("many/", limit=1003)] == keys[:1003]
    await bench.store.delete(keys)
    assert await bench.store.list("many/") == []


async def test_the_stores_clock_is_known_after_an_answer(bench: Bench) -> None:
    assert await bench.store.list("") == []
    offset = bench.store.clock_offset()
    assert offset is not None
    assert abs(offset) < 5
