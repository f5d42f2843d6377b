"""What lies in the bucket is not sent again by the real daemon: parts from before a kill -9, and files of an earlier checkpoint."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.contract.object_store.conftest import ceph_endpoint, localstack_endpoint, moto_endpoint  # noqa: F401 - fixtures
from tests.e2e.world import committed_in, s3_client, state_of, wait_until, write_checkpoint
from tests.support.counted_link import CountedLink
from tests.support.daemon_process import CommandMachine
from tests.support.machine import safetensors
from tests.support.servers import Endpoint

MIB = 1 << 20
PART = 5 * MIB
SIZE = 30 * MIB
SETTINGS = {"upload.part_size_mib": 5, "upload.concurrency": 2}


@pytest.fixture(
    params=[
        "moto_endpoint",
        pytest.param("ceph_endpoint", marks=pytest.mark.needs_ceph),
        pytest.param("localstack_endpoint", marks=pytest.mark.needs_localstack),
    ]
)
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    """moto and Ceph list no checksums of parts, so there it is their MD5s that prove them."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Endpoint)
    return found


class Machine(CommandMachine):
    """With credentials that the endpoint takes."""

    def environment(self) -> dict[str, str]:
        return super().environment() | Endpoint("").environment()


@pytest.mark.slow
def test_the_next_daemon_sends_only_the_missing_parts_and_leaves_no_open_upload(endpoint: Endpoint, tmp_path: Path) -> None:
    client = s3_client(endpoint.url)
    client.create_bucket(Bucket="resumed")
    with (
        CountedLink(endpoint.url, bytes_per_second=15e6) as link,
        Machine(tmp_path, url="s3://resumed/run1", endpoint_url=link.url, settings=SETTINGS) as machine,
    ):
        daemon = machine.daemon()
        written = write_checkpoint(machine.output, 100, SIZE, random.Random(0))
        wait_until(lambda: len(parts_in(client, "resumed")) >= 3, seconds=30)
        daemon.kill()
        link.bytes_per_second = None
        link.settle()
        kept = sum(part["Size"] for part in parts_in(client, "resumed"))
        assert PART <= kept < SIZE, "the kill came too late or too early: it proves nothing"
        before = link.bytes_up
        last = machine.daemon()
        wait_until(lambda: state_of(last.get("/status")[1], "checkpoint-100") == "committed", seconds=30)
        sent = link.bytes_up - before
        assert last.stop() == 0
        total = sum(len(content) for content in written.values())
        assert sent <= total - kept + MIB / 2, f"{sent} bytes were sent where {total - kept} were missing"
        assert committed_in(client, "resumed") == {"checkpoint-100": written}
        assert "Uploads" not in client.list_multipart_uploads(Bucket="resumed")
        assert '"upload.resumed"' in (tmp_path / "daemon.log").read_text()


def test_of_a_checkpoint_that_is_95_percent_files_of_the_one_before_at_most_6_percent_go_over_the_wire(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    client = s3_client(endpoint.url)
    client.create_bucket(Bucket="reused")
    rng = random.Random(1)
    frozen = safetensors(rng.randbytes(19 * MIB))
    with (
        CountedLink(endpoint.url) as link,
        Machine(tmp_path, url="s3://reused/run1", endpoint_url=link.url, settings=SETTINGS) as machine,
    ):
        daemon = machine.daemon()
        written = {}
        for step in (100, 200):
            before = link.bytes_up
            machine.output.joinpath(f"checkpoint-{step}").mkdir(parents=True)
            machine.output.joinpath(f"checkpoint-{step}/frozen.safetensors").write_bytes(frozen)
            files = write_checkpoint(machine.output, step, MIB, rng)
            written[f"checkpoint-{step}"] = {**files, "frozen.safetensors": frozen}
            wait_until(lambda: state_of(daemon.get("/status")[1], f"checkpoint-{step}") == "committed", seconds=30)  # noqa: B023 - run here
        assert link.bytes_up - before <= 0.06 * sum(len(content) for content in written["checkpoint-200"].values())
        assert daemon.stop() == 0
        assert f'"reused_bytes": {len(frozen)}' in (tmp_path / "daemon.log").read_text()
        assert committed_in(client, "reused") == written


def parts_in(client: Any, bucket: str) -> list[Any]:
    """Of all unfinished uploads."""
    named = [{"Key": one["Key"], "UploadId": one["UploadId"]} for one in client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]
    return [part for upload in named for part in client.list_parts(Bucket=bucket, **upload).get("Parts", ())]
