"""The real daemon sends a file while it is being written; what it commits is the file as it is at its end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.contract.object_store.conftest import ceph_endpoint, localstack_endpoint, moto_endpoint  # noqa: F401 - fixtures
from tests.e2e.test_resumed_upload import Machine, endpoint, parts_in  # noqa: F401 - a fixture
from tests.e2e.world import checkpoint_in, committed_in, s3_client, state_of, wait_until
from tests.support.counted_link import CountedLink
from tests.support.machine import hf_files
from tests.support.servers import Endpoint

MIB = 1 << 20
PART = 5 * MIB
SIZE = 40 * MIB
SETTINGS = {"upload.part_size_mib": 5, "upload.concurrency": 2}
WEIGHTS = "model.safetensors"


def _append(file: Path, content: bytes) -> None:
    """As from a writer that is through."""


def _patch(file: Path, content: bytes) -> None:
    with file.open("r+b") as written:
        written.seek(8)
        written.write(content[8:200])


def _replace(file: Path, content: bytes) -> None:
    other = file.with_name("other.tmp")
    other.write_bytes(content)
    other.replace(file)


def _write_slowly(file: BinaryIO, content: bytes, *, until: Callable[[], bool]) -> int:
    """As fast as a network disk takes it, until the daemon has noticed; how much was written."""
    for at in range(0, len(content), MIB // 4):
        if until():
            return at
        file.write(content[at : at + MIB // 4])
        time.sleep(0.05)
    raise AssertionError("nothing of it was sent while it was written")


@pytest.mark.slow
@pytest.mark.parametrize("last", [_append, _patch, _replace])
def test_most_of_a_file_is_there_when_its_last_byte_is_written_and_it_is_committed_as_it_is(
    endpoint: Endpoint,  # noqa: F811 - the fixture
    tmp_path: Path,
    last: Callable[[Path, bytes], None],
) -> None:
    client = s3_client(endpoint.url)
    bucket = f"streamed-{last.__name__.strip('_')}"
    client.create_bucket(Bucket=bucket)
    files = hf_files(100, weights=random.Random(0).randbytes(SIZE))
    whole = files.pop(WEIGHTS)
    first = whole if last is _append else whole[:8] + bytes(192) + whole[200:]
    with (
        CountedLink(endpoint.url) as link,
        Machine(tmp_path, url=f"s3://{bucket}/run1", endpoint_url=link.url, settings=SETTINGS) as machine,
    ):
        daemon = machine.daemon()
        folder = machine.output / "checkpoint-100"
        folder.mkdir(parents=True)
        with (folder / WEIGHTS).open("wb", buffering=0) as file:
            at = _write_slowly(file, first[: SIZE // 2], until=lambda: bool(parts_in(client, bucket)))
            file.write(first[at:])
            wait_until(lambda: len(parts_in(client, bucket)) >= SIZE // PART - 2, seconds=30)
            there = sum(part["Size"] for part in parts_in(client, bucket))
            shown = checkpoint_in(daemon.status(), "checkpoint-100")
            assert shown["state"] == "writing"
            last(folder / WEIGHTS, whole)
        assert there >= SIZE - 3 * PART
        assert committed_in(client, bucket) == {}
        before = link.bytes_up
        for name, content in files.items():
            (folder / name).write_bytes(content)
        wait_until(lambda: state_of(daemon.status(), "checkpoint-100") == "committed", seconds=30)
        assert committed_in(client, bucket) == {"checkpoint-100": {**files, WEIGHTS: whole}}
        assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
        if last is _append:
            assert link.bytes_up - before < 4 * PART
        assert daemon.stop() == 0
