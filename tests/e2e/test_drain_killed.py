"""kill -9 of the real daemon in the middle of a drain: the next one goes on, and the trainer is not signalled again."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotguard.demo.embedded_s3 import EmbeddedS3
from spotguard.demo.metadata_process import MetadataProcess
from tests.e2e.world import committed_in, content_below, s3_client, state_of, wait_until, write_checkpoint
from tests.support import saving_trainer
from tests.support.daemon_process import CommandMachine
from tests.support.slow_link import SlowLink

NOTICE_SECONDS = 60


@pytest.fixture
def bucket() -> Iterator[EmbeddedS3]:
    with EmbeddedS3("killed") as server:
        yield server


@pytest.mark.slow
def test_a_drain_goes_on_to_its_verdict_and_the_trainer_is_signalled_once(bucket: EmbeddedS3, tmp_path: Path) -> None:
    client, folder, told = s3_client(bucket.url), tmp_path / "a", tmp_path / "told"
    final = write_checkpoint(tmp_path / "prepared", 2, 9_000_000, random.Random(3))
    with (
        MetadataProcess() as metadata,
        SlowLink(bucket.url, bytes_per_second=3e6) as link,
        CommandMachine(
            folder,
            url="s3://killed/run1",
            endpoint_url=link.url,
            settings={
                "imds.mode": "required",
                "imds.endpoint": metadata.url,
                "imds.poll_seconds": 0.5,
                "trainer.pid_file": str(folder / "trainer.pid"),
                "trainer.signal": "SIGUSR1",
                "upload.part_size_mib": 5,
            },
        ) as machine,
    ):
        daemon = machine.daemon()
        prepared, target = tmp_path / "prepared/checkpoint-2", machine.output / "checkpoint-2"
        trainer = machine.start(sys.executable, saving_trainer.__file__, prepared, target, told, output="trainer.log")
        wait_until(lambda: trainer.lines() == ["ready\n"])
        machine.pid_file.write_text(str(trainer.pid))
        wait_until(lambda: daemon.status()["trainer"]["pids"] == [trainer.pid])
        metadata.interrupt(NOTICE_SECONDS)
        wait_until(lambda: client.list_multipart_uploads(Bucket="killed").get("Uploads"))
        daemon.kill()
        assert "checkpoint-2" not in committed_in(client, "killed"), "the kill came too late to prove anything"

        again = machine.daemon()
        wait_until(lambda: again.status()["state"] == "safe", seconds=NOTICE_SECONDS)
        status = again.status()
        assert state_of(status, "checkpoint-2") == "committed"
        assert (status["interruption"]["verdict"], status["interruption"]["last_committed"]) == ("safe", "checkpoint-2")
        assert status["trainer"]["pids"] == [trainer.pid]
        assert told.read_text().splitlines() == [f"{trainer.pid} SIGUSR1"]
        assert again.stop() == 0

        restored = machine.json("restore", "--to", tmp_path / "restored")
        assert content_below(Path(restored["path"])) == final
        (record,) = client.list_objects_v2(Bucket="killed", Prefix="run1/.spotguard/interruptions/")["Contents"]
        body = json.loads(client.get_object(Bucket="killed", Key=record["Key"])["Body"].read())
        assert body["verdict"] == "safe"
