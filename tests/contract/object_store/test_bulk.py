"""Many small objects at once: what comes is right, and what does not come keeps nothing else from coming."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme

from spotguard.ports.bulk_fetch import SMALL_BYTES, Wanted
from spotguard.ports.part_transfer import Slice
from tests.contract.object_store.benches import Bench

KEYS = [f"run/{name}" for name in ("plain", "with blank", "ü", "100%", "a+b", "x@2", "deep/er/one", "~t", "(1)", "q?a=b&c")]


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


async def stored(bench: Bench) -> dict[str, bytes]:
    contents = {key: os.urandom(1 + 997 * number) for number, key in enumerate(KEYS)} | {"run/largest": os.urandom(SMALL_BYTES)}
    await asyncio.gather(*(bench.store.create(key, content) for key, content in contents.items()))
    return contents


def side_by_side(contents: dict[str, bytes], fd: int) -> list[Wanted]:
    at, wanted = 0, []
    for key, content in contents.items():
        wanted.append(Wanted(key, Slice(fd, at, len(content))))
        at += len(content)
    return wanted


async def test_every_object_comes_whole_into_its_slice(bench: Bench, target: int) -> None:
    contents = await stored(bench)
    wanted = side_by_side(contents, target)
    assert await bench.bulk.fetch_all(wanted) == [crc64nvme(content) for content in contents.values()]
    for (_, into), content in zip(wanted, contents.values(), strict=True):
        assert os.pread(target, into.size, into.offset) == content


async def test_one_that_is_missing_or_of_another_size_is_none_and_the_others_come(bench: Bench, target: int) -> None:
    contents = await stored(bench)
    wanted = side_by_side(contents, target)
    sizes = wanted[4].into._replace(size=wanted[4].into.size - 1), wanted[6].into._replace(size=wanted[6].into.size + 1)
    wanted[2] = Wanted("run/never was", wanted[2].into)
    wanted[4], wanted[6] = wanted[4]._replace(into=sizes[0]), wanted[6]._replace(into=sizes[1])
    sums = await bench.bulk.fetch_all(wanted)
    assert [number for number, crc in enumerate(sums) if crc is None] == [2, 4, 6]
    assert [crc for crc in sums if crc] == [crc64nvme(body) for n, body in enumerate(contents.values()) if n not in (2, 4, 6)]
