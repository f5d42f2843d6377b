"""Many small objects created at once: what is said to be there is there, and nothing that was there before is touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme

from spotguard.ports.bulk_send import MOST_BYTES, BulkSend, Offered
from spotguard.ports.part_transfer import SentObject, Slice
from tests.contract.object_store.benches import Bench

NAMES = ["plain", "with blank", "ü", "100%", "a+b", "x@2", "deep/er/one", "~t", "(1)", "q?a=b&c", *(f"n{n}" for n in range(20))]
SIZES = [1 + 997 * number for number in range(len(NAMES) - 1)] + [MOST_BYTES]
METADATA = {"spotguard-run": "run", "spotguard-checkpoint": "checkpoint-1"}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(os.urandom(sum(SIZES)))
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
async def bulk(bench: Bench, file: int) -> BulkSend:
    """Of a connection that has learned how the store wants its checksums: by a single object, as every upload begins."""
    await bench.transfer.put("first", Slice(file, 0, 1), only_new=True, metadata={})
    return bench.bulk_send


def offered(fd: int) -> list[Offered]:
    at, made = 0, []
    for name, size in zip(NAMES, SIZES, strict=True):
        made.append(Offered(f"run/{name}", Slice(fd, at, size)))
        at += size
    return made


def content(one: Offered) -> bytes:
    return os.pread(one.body.fd, one.body.size, one.body.offset)


async def test_every_object_is_created_with_its_content_and_metadata(bench: Bench, bulk: BulkSend, file: int) -> None:
    row = offered(file)
    sent = await bulk.send_all(row, metadata=METADATA)
    for one, answer in zip(row, sent, strict=True):
        facts = await bench.store.head(one.key)
        assert answer == SentObject(one.key, one.body.size, facts.etag, crc64nvme(content(one)))
        assert METADATA.items() <= facts.metadata.items()
        assert await bench.store.read(one.key) == content(one)
        if bench.quirks.keeps_crc64nvme:
            assert facts.crc64nvme == crc64nvme(content(one))


async def test_what_is_there_is_not_overwritten_and_the_others_are_created(bench: Bench, bulk: BulkSend, file: int) -> None:
    row = offered(file)
    await bench.store.create(row[3].key, b"somebody else's")
    sent = await bulk.send_all(row, metadata=METADATA)
    assert [number for number, answer in enumerate(sent) if answer is None] == [3]
    assert await bench.store.read(row[3].key) == b"somebody else's"
    assert await bench.store.read(row[4].key) == content(row[4])


async def test_a_file_that_ends_early_is_none_and_the_others_are_created(bench: Bench, bulk: BulkSend, file: int, tmp_path: Path) -> None:
    row = offered(file)
    (tmp_path / "short").write_bytes(b"short")
    with open(tmp_path / "short", "rb") as short:
        row[5] = row[5]._replace(body=Slice(short.fileno(), 0, row[5].body.size))
        sent = await bulk.send_all(row, metadata=METADATA)
    assert [number for number, answer in enumerate(sent) if answer is None] == [5]
    assert row[5].key not in {stored.key for stored in await bench.store.list("run/")}


async def test_what_was_created_once_is_not_created_again(bench: Bench, bulk: BulkSend, file: int) -> None:
    row = offered(file)[:2]
    assert None not in await bulk.send_all(row, metadata=METADATA)
    assert list(await bulk.send_all(row, metadata=METADATA)) == [None, None]
