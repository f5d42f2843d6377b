"""kill -9 of the real daemon at seeded moments: everything that is committed is byte for byte what the trainer wrote."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import committed_in, s3_client, state_of, wait_until, write_checkpoint
from tests.support.daemon_process import CommandMachine
from tests.support.servers import Endpoint, moto

MOMENTS = int(os.environ.get("SPOTGUARD_KILLS", "50"))
BATCHES = 5


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with moto.running() as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_killed_daemon_costs_no_committed_byte_and_the_next_one_finishes(batch: int, endpoint: Endpoint, tmp_path: Path) -> None:
    rng = random.Random(batch)
    bucket = f"killed-{batch}"
    client = s3_client(endpoint.url)
    client.create_bucket(Bucket=bucket)
    written: dict[str, dict[str, bytes]] = {}
    killed_while_working = 0
    newest = f"checkpoint-{MOMENTS // BATCHES * 10}"
    with CommandMachine(tmp_path, url=f"s3://{bucket}/run1", endpoint_url=endpoint.url) as machine:
        for round_ in range(MOMENTS // BATCHES):
            step = (round_ + 1) * 10
            daemon = machine.daemon(ready=rng.random() < 0.7)
            written[f"checkpoint-{step}"] = write_checkpoint(machine.output, step, rng.randrange(1, 12_000_000), rng)
            time.sleep(rng.uniform(0, 0.6))
            killed_while_working += f"checkpoint-{step}" not in committed_in(client, bucket)
            daemon.kill()
            for name, files in committed_in(client, bucket).items():
                assert files == written[name], f"{name} is not what the trainer wrote"
        assert killed_while_working > 0, "no kill came before its commit: the moments prove nothing"
        last = machine.daemon()
        wait_until(lambda: state_of(last.get("/status")[1], newest) == "committed", seconds=60)
        assert last.stop() == 0
    assert committed_in(client, bucket)[newest] == written[newest]


def test_a_bucket_that_does_not_exist_ends_the_start_with_one_line_and_status_5(endpoint: Endpoint, tmp_path: Path) -> None:
    with CommandMachine(tmp_path, url="s3://nobody-made-this-bucket/run1", endpoint_url=endpoint.url) as machine:
        done = machine.spotguard("daemon")
        assert done.returncode == 5
        told = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        assert told == [
            "spotguard: cannot use s3://nobody-made-this-bucket: the bucket does not exist; "
            "create the bucket nobody-made-this-bucket, or correct destination.url"
        ]
