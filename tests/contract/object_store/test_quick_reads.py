"""A process that only reads asks by its own requests: it learns what boto3 would have told it, and makes no client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from spotguard.adapters.s3.connection import Connection, connect
from spotguard.adapters.s3.credentials import AwsIdentity
from spotguard.adapters.s3.quick_reads import QuickReads
from spotguard.ports.object_store import BucketMissing, ObjectMissing, StoredObject, StoreRejected
from tests.contract.object_store.benches import Bench

KEYS = [f"run/{name}" for name in ("a", "a b", "ü", "100%", "a+b", "x@2", "deep/er/one", "<&>", "q?a=b&c", "~", "z" * 200)]


@pytest.fixture
async def reader(server: Bench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connection]:
    """A fresh connection to a bucket that has KEYS, which may not make a client."""
    await asyncio.gather(*(server.store.create(key, key.encode() * 3) for key in KEYS))
    assert server.settings is not None

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a client was made")

    async with connect(server.settings) as connection:
        monkeypatch.setattr(AwsIdentity, "client", refuse)  # the other connection has its own by now
        yield connection


async def test_it_lists_what_boto3_lists(server: Bench, reader: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    async def listings(connection: Connection | Bench) -> list[Sequence[StoredObject]]:
        prefixes = ("", "run/", "run/a", "run/a+", "run/deep/", "run/<", "none/")
        return [await connection.store.list(prefix) for prefix in prefixes] + [
            await connection.store.list("run/", start_after="run/a b", limit=3)
        ]

    found = await listings(reader)
    assert reader.store.clock_offset() is not None
    monkeypatch.setattr(QuickReads, "answer", lambda *_: None)
    assert found == await listings(server)


async def test_it_lists_more_than_a_page(server: Bench, reader: Connection) -> None:
    names = [f"many/{number:04} %" for number in range(1005)]
    await asyncio.gather(*(server.store.create(name, b"x") for name in names))
    assert [found.key for found in await reader.store.list("many/")] == names


async def test_it_reads_whole_objects_up_to_what_is_allowed(reader: Connection) -> None:
    for key in KEYS:
        assert await reader.store.read(key, max_bytes=3 * len(key.encode())) == key.encode() * 3


async def test_what_is_missing_is_missing(reader: Connection) -> None:
    with pytest.raises(ObjectMissing, match="run/none"):
        await reader.store.read("run/none")


async def test_what_is_wrong_boto3_finds_the_words_for(server: Bench) -> None:
    await server.store.create("run/large", b"x" * 100)
    assert server.settings is not None
    async with connect(server.settings) as connection:
        with pytest.raises(StoreRejected, match="more than the 99 allowed"):
            await connection.store.read("run/large", max_bytes=99)
    with pytest.raises(BucketMissing):
        async with connect(replace(server.settings, bucket="there-is-no-such-bucket")):
            pass
    async with connect(replace(server.settings, bucket="there-is-no-such-bucket"), check=False) as connection:
        with pytest.raises(BucketMissing):
            await connection.store.list("run/")
