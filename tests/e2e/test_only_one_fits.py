"""The real daemon on a link so slow that one of two checkpoints fits between the notice and the deadline."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from spotguard.demo.embedded_s3 import EmbeddedS3
from spotguard.demo.metadata_process import MetadataProcess
from tests.e2e.world import checkpoint_in, committed_in, keys_in, s3_client, state_of, wait_for, wait_until, write_checkpoint
from tests.support.daemon_process import CommandMachine
from tests.support.slow_link import SlowLink

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

BUCKET = "one-fits"
LINK = 6e6
"""Bytes per second."""
SMALL, HUGE = 12_000_000, 90_000_000
"""Two seconds and fifteen."""
NOTICE_SECONDS, MARGIN_SECONDS = 7.0, 1.0


@dataclass(frozen=True)
class Case:
    older: tuple[str, int]
    """Its name and size."""
    newer: tuple[str, int]
    committed: str
    given_up: str
    why: str
    verdict: str


CASES = {
    "the newer of two stages": Case(
        ("sft/checkpoint-10", HUGE), ("rl/checkpoint-20", SMALL), "rl/checkpoint-20", "sft/checkpoint-10", "needs ", "unsafe"
    ),
    "the older, for the newest is too large": Case(
        ("checkpoint-10", SMALL), ("checkpoint-20", HUGE), "checkpoint-10", "checkpoint-20", "needs ", "unsafe"
    ),
    "the newer, after which the older is not missed": Case(
        ("checkpoint-10", HUGE), ("checkpoint-20", SMALL), "checkpoint-20", "checkpoint-10", "a newer one of its stage", "safe"
    ),
}


@pytest.fixture(scope="module")
def bucket() -> Iterator[EmbeddedS3]:
    with EmbeddedS3(BUCKET) as server:
        yield server


def appear(machine: CommandMachine, prepared: Path, name: str) -> None:
    target = machine.output / name
    target.parent.mkdir(parents=True, exist_ok=True)
    (prepared / name).rename(target)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_newest_that_fits_is_out_before_the_deadline_and_the_other_is_named(case: Case, bucket: EmbeddedS3, tmp_path: Path) -> None:
    rng, run = random.Random(1), f"run-{tmp_path.name}"
    prepared = {}
    for name, size in (case.older, case.newer):
        stage, _, folder = name.rpartition("/")
        prepared[name] = write_checkpoint(tmp_path / "prepared" / stage, int(folder.rpartition("-")[2]), size, rng)
    client = s3_client(bucket.url)
    with MetadataProcess() as metadata, SlowLink(bucket.url, bytes_per_second=LINK) as link:
        settings: dict[str, Any] = {"imds.mode": "required", "imds.endpoint": metadata.url, "imds.poll_seconds": 0.3}
        settings |= {"interruption.margin_seconds": MARGIN_SECONDS, "upload.part_size_mib": 5, "upload.concurrency": 2}
        with CommandMachine(tmp_path / "m", url=f"s3://{BUCKET}/{run}", endpoint_url=link.url, settings=settings) as machine:
            daemon = machine.daemon()
            write_checkpoint(machine.output / "warm-up", 1, SMALL, rng)
            wait_until(lambda: state_of(daemon.status(), "warm-up/checkpoint-1") == "committed")
            appear(machine, tmp_path / "prepared", case.older[0])
            wait_until(lambda: state_of(daemon.status(), case.older[0]) == "uploading")
            appear(machine, tmp_path / "prepared", case.newer[0])
            metadata.interrupt(NOTICE_SECONDS)
            told = wait_for(lambda: status if (status := daemon.status())["state"] in ("safe", "unsafe") else None)
            interruption = told["interruption"]
            assert interruption["verdict"] == case.verdict
            assert {given["name"] for given in interruption["given_up"]} == {case.given_up}
            assert case.why in interruption["given_up"][0]["why"]
            out = checkpoint_in(told, case.committed)
            assert out["state"] == "committed"
            assert datetime.fromisoformat(out["committed_at"]) <= datetime.fromisoformat(interruption["deadline"])
            keys = wait_for(lambda: keys_in(client, BUCKET, f"{run}/.spotguard/interruptions/") or None)
            record = json.loads(client.get_object(Bucket=BUCKET, Key=keys[0])["Body"].read())
            assert (record["verdict"], record["given_up"]) == (case.verdict, interruption["given_up"])
            found = committed_in(client, BUCKET, run)
            assert found[case.committed] == prepared[case.committed]
            assert case.given_up not in found
