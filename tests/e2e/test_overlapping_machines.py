"""Two real daemons on one run: one machine goes while the next one comes, and one that was thought dead wakes up."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spotguard.demo.daemon_process import DaemonProcess
from spotguard.demo.embedded_s3 import EmbeddedS3
from spotguard.demo.metadata_process import MetadataProcess
from tests.e2e.world import (
    committed_in,
    content_below,
    keys_in,
    problems_of,
    s3_client,
    state_of,
    wait_until,
    write_checkpoint,
)
from tests.support import saving_trainer
from tests.support.daemon_process import CommandMachine
from tests.support.slow_link import SlowLink

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

FENCED = 7
NOTICE_SECONDS = 25
LINK = 1e6
"""Bytes per second: a final checkpoint of 9 MB is under way for nine seconds."""


@pytest.fixture(scope="module")
def bucket() -> Iterator[EmbeddedS3]:
    with EmbeddedS3("overlap") as server:
        yield server


def on_instance(metadata: MetadataProcess, instance_id: str, **more: Any) -> dict[str, Any]:
    metadata.control("POST", {"facts": {"instance_id": instance_id}})
    return {"imds.mode": "required", "imds.endpoint": metadata.url, "imds.poll_seconds": 0.5, "upload.part_size_mib": 5, **more}


def commit_one(daemon: DaemonProcess, machine: CommandMachine, step: int, rng: random.Random) -> dict[str, bytes]:
    files = write_checkpoint(machine.output, step, 100_000, rng)
    wait_until(lambda: state_of(daemon.status(), f"checkpoint-{step}") == "committed")
    return files


def show_environment(machine: CommandMachine) -> tuple[str, ...]:
    script = "import json, os; print(json.dumps({'event': 'started', 'at': os.environ['SPOTGUARD_CHECKPOINT']}))"
    return (sys.executable, "-m", "spotguard", "resume", "-c", str(machine.config_file), "--", sys.executable, "-c", script)


def test_the_next_machine_resumes_from_the_final_checkpoint_of_the_one_that_still_drains(bucket: EmbeddedS3, tmp_path: Path) -> None:
    url, rng = "s3://overlap/run1", random.Random(1)
    final = write_checkpoint(tmp_path / "prepared", 2, 9_000_000, rng)
    with MetadataProcess() as old_metadata, MetadataProcess() as new_metadata, SlowLink(bucket.url, bytes_per_second=LINK) as link:
        signalled = {"trainer.pid_file": str(tmp_path / "old/trainer.pid"), "trainer.signal": "SIGUSR1"}
        old_settings = on_instance(old_metadata, "i-old", **signalled)
        new_settings = on_instance(new_metadata, "i-new")
        with (
            CommandMachine(tmp_path / "old", url=url, endpoint_url=link.url, settings=old_settings) as old,
            CommandMachine(tmp_path / "new", url=url, endpoint_url=bucket.url, settings=new_settings) as new,
        ):
            first = old.daemon()
            prepared, target = tmp_path / "prepared/checkpoint-2", old.output / "checkpoint-2"
            command = (sys.executable, str(saving_trainer.__file__), str(prepared), str(target), str(tmp_path / "told"))
            trainer = old.start(*command, output="trainer.log")
            wait_until(lambda: trainer.lines() == ["ready\n"])
            old.pid_file.write_text(str(trainer.pid))
            commit_one(first, old, 1, rng)

            old_metadata.interrupt(NOTICE_SECONDS)
            wait_until(lambda: state_of(first.status(), "checkpoint-2") == "uploading")
            second = new.daemon()
            resume = new.start(*show_environment(new), output="resume.log")
            restored = new.spotguard("restore", "--to", tmp_path / "restored", "--json")

            assert state_of(first.status(), "checkpoint-2") == "committed"  # not before: it was waited for
            assert json.loads(restored.stdout)["name"] == "checkpoint-2", restored.stderr
            assert resume.wait(30) == 0
            assert resume.lines()[-1].endswith('/new/out/checkpoint-2"}\n')
            for folder in (tmp_path / "restored/checkpoint-2", new.output / "checkpoint-2"):
                assert content_below(folder) == final

            wait_until(lambda: first.status()["state"] == "fenced", seconds=40)
            assert first.status()["interruption"]["verdict"] == "safe"
            assert "claim-lost" in problems_of(first.status())
            assert first.stop() == FENCED
            third = commit_one(second, new, 3, rng)
            assert second.stop() == 0
    committed = committed_in(s3_client(bucket.url), "overlap")
    assert (committed["checkpoint-2"], committed["checkpoint-3"]) == (final, third)
    assert (tmp_path / "told").read_text().splitlines() == [f"{trainer.pid} SIGUSR1"]


def test_a_machine_that_wakes_up_after_it_was_replaced_damages_nothing(bucket: EmbeddedS3, tmp_path: Path) -> None:
    """Both are on one host, so that the second need not wait for the first, which says nothing."""
    client, rng = s3_client(bucket.url), random.Random(2)
    client.create_bucket(Bucket="zombie")
    settings = {"upload.part_size_mib": 5}
    with (
        SlowLink(bucket.url, bytes_per_second=LINK) as link,
        CommandMachine(tmp_path / "old", url="s3://zombie/run1", endpoint_url=link.url, settings=settings) as old,
        CommandMachine(tmp_path / "new", url="s3://zombie/run1", endpoint_url=bucket.url, settings=settings) as new,
    ):
        zombie = old.daemon()
        commit_one(zombie, old, 1, rng)
        by_zombie = write_checkpoint(old.output, 2, 12_000_000, rng)
        wait_until(lambda: client.list_multipart_uploads(Bucket="zombie").get("Uploads"))
        os.kill(zombie.pid, signal.SIGSTOP)

        second = new.daemon()
        assert new.json("restore")["name"] == "checkpoint-1"
        by_second = commit_one(second, new, 2, rng)
        before = {key: client.get_object(Bucket="zombie", Key=key)["Body"].read() for key in keys_in(client, "zombie")}

        os.kill(zombie.pid, signal.SIGCONT)
        wait_until(lambda: zombie.status()["state"] == "fenced", seconds=40)
        assert "claim-lost" in problems_of(zombie.status())
        assert zombie.stop() == FENCED
        for key, body in before.items():
            assert key.endswith("last_sync.json") or client.get_object(Bucket="zombie", Key=key)["Body"].read() == body, key

        assert new.spotguard("verify").returncode == 0
        restored = new.json("restore", "--to", tmp_path / "restored")
        assert content_below(Path(restored["path"])) in (by_second, by_zombie)
        newest = commit_one(second, new, 3, rng)
        assert content_below(Path(new.json("restore", "--to", tmp_path / "later")["path"])) == newest
        assert second.stop() == 0
