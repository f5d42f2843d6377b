"""kill -9 of the real daemon in the middle of a large file: the next one sends only the parts that are missing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_daemon_killed import client_of, committed_in, state_of, wait_until, write_checkpoint
from tests.support.counted_link import CountedLink
from tests.support.daemon_process import CommandMachine
from tests.support.servers import Endpoint, moto

MIB = 1 << 20
PART = 5 * MIB
SIZE = 40 * MIB


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with moto.running() as running:
        yield running


@pytest.mark.slow
def test_the_next_daemon_sends_only_the_missing_parts_and_leaves_no_open_upload(endpoint: Endpoint, tmp_path: Path) -> None:
    client = client_of(endpoint)
    client.create_bucket(Bucket="resumed")
    with (
        CountedLink(endpoint.url, bytes_per_second=15e6) as link,
        CommandMachine(tmp_path, url="s3://resumed/run1", endpoint_url=link.url, settings={"upload.part_size_mib": 5}) as machine,
    ):
        daemon = machine.daemon()
        written = write_checkpoint(machine.output, 100, SIZE, random.Random(0))
        wait_until(lambda: len(parts_in(client, "resumed")) >= 3, seconds=30)
        daemon.kill()
        kept = sum(part["Size"] for part in parts_in(client, "resumed"))
        assert PART <= kept < SIZE, "the kill came too late or too early: it proves nothing"
        link.bytes_per_second, before = None, link.bytes_up
        last = machine.daemon()
        wait_until(lambda: state_of(last.get("/status")[1], "checkpoint-100") == "committed", seconds=30)
        sent = link.bytes_up - before
        assert last.stop() == 0
        total = sum(len(content) for content in written.values())
        assert sent <= total - kept + MIB / 2, f"{sent} bytes were sent where {total - kept} were missing"
        assert committed_in(client, "resumed") == {"checkpoint-100": written}
        assert "Uploads" not in client.list_multipart_uploads(Bucket="resumed")
        assert '"upload.resumed"' in (tmp_path / "daemon.log").read_text()


def parts_in(client: Any, bucket: str) -> list[Any]:
    """Of all unfinished uploads."""
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
    return [
        part
        for upload in uploads
        for part in client.list_parts(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]).get("Parts", ())
    ]
