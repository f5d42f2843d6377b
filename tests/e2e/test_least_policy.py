"""The policies that `bucket policy` prints, in front of the real daemon and the real commands: enough, and no action too many."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotguard.core.iam_policy import Purpose, policy_for
from spotguard.core.run_keys import RunKeys
from tests.e2e.world import keys_in, s3_client, state_of, wait_until, write_checkpoint
from tests.support.daemon_process import CommandMachine
from tests.support.servers import Endpoint, authority, moto
from tests.support.servers.authority import Authority, Need

PART = 5 << 20


@pytest.fixture(scope="module")
def upstream() -> Iterator[Endpoint]:
    with moto.running() as running:
        yield running


@pytest.fixture
def guarded(upstream: Endpoint) -> Iterator[Authority]:
    with authority.running(upstream) as running:
        yield running


def actions_of(purpose: Purpose, keys: RunKeys) -> set[str]:
    return {action for statement in policy_for(purpose, keys)["Statement"] for action in statement["Action"]}


def refused_but_for_the_look_at_the_bucket(guarded: Authority) -> list[Need]:
    """A HEAD of the bucket names no prefix and is refused by the policy; nobody minds."""
    return [need for need in guarded.refused if need != Need("s3:ListBucket", need.bucket, prefix=None)]


@pytest.mark.slow
def test_a_daemon_lives_by_its_policy_and_uses_every_action_of_it(guarded: Authority, upstream: Endpoint, tmp_path: Path) -> None:
    keys = RunKeys("least", "team/run1")
    client = s3_client(upstream.url)
    client.create_bucket(Bucket=keys.bucket)
    # What a machine that died left behind: an upload under way, of a file that changed since.
    key = "team/run1/checkpoint-20/model.safetensors"
    left = client.create_multipart_upload(Bucket=keys.bucket, Key=key, Metadata=keys.metadata("checkpoint-20"))
    client.upload_part(Bucket=keys.bucket, Key=key, UploadId=left["UploadId"], PartNumber=1, Body=b"x" * PART)
    guarded.allows = authority.allowed_by(policy_for(Purpose.DAEMON, keys))
    settings = {"destination.keep_last": 1, "upload.part_size_mib": 5, "watch.settle_seconds": 1}
    with CommandMachine(tmp_path, url=keys.url, endpoint_url=guarded.endpoint.url, settings=settings) as machine:
        daemon = machine.daemon()
        for step in (10, 20, 30):
            write_checkpoint(machine.output, step, 12_000_000, random.Random(step))
            name = f"checkpoint-{step}"
            wait_until(lambda name=name: state_of(daemon.get("/status")[1], name) == "committed", seconds=40)  # type: ignore[misc]
        wait_until(lambda: len(keys_in(client, keys.bucket, keys.manifests)) == 1, seconds=40)
        assert daemon.stop() == 0
        assert refused_but_for_the_look_at_the_bucket(guarded) == []
        by_daemon = {need.action for need in guarded.asked}
        guarded.allows = authority.allowed_by(policy_for(Purpose.RESTORE, keys))
        guarded.asked.clear()
        for command in (["restore", "--to", tmp_path / "back"], ["list"], ["verify"]):
            done = machine.spotguard(*command)
            assert done.returncode == 0, done.stderr
        assert refused_but_for_the_look_at_the_bucket(guarded) == []
        assert {need.action for need in guarded.asked} == actions_of(Purpose.RESTORE, keys)
    assert by_daemon == actions_of(Purpose.DAEMON, keys)
