"""The project's image as a sidecar beside a trainer of another user, confined as docs/containers.md says."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest

from spotguard.demo.daemon_process import free_address
from spotguard.demo.metadata_process import MetadataProcess
from tests.support.podman import Podman, why_not
from tests.support.servers import Endpoint, moto

pytestmark = [pytest.mark.needs_podman, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

# Not `-m spotguard.demo.trainer`: a process that runs spotguard is never taken for the trainer.
_TRAIN = "import sys; from spotguard.demo.trainer import main; sys.exit(main())"
_STEPS = ("--steps", "100000", "--save-steps", "20", "--step-seconds", "0.05", "--save-seconds", "0.1", "--checkpoint-mib", "1")


@pytest.fixture
def podman() -> Iterator[Podman]:
    podman = Podman()
    yield podman
    podman.remove_all()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with moto.running() as running:
        yield running


def until(what: str, holds: Callable[[], object], seconds: float = 40.0) -> None:
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)


def ask(address: str, path: str) -> dict[str, Any]:
    try:
        with urlopen(Request(f"http://{address}{path}"), timeout=5) as answer:
            told: dict[str, Any] = json.loads(answer.read())
            return told
    except OSError:
        return {}


def committed(status: dict[str, Any]) -> list[str]:
    return [c["name"] for c in status.get("checkpoints", ()) if c["state"] == "committed"]


def test_it_guards_a_trainer_of_another_user_with_two_capabilities_and_a_read_only_root(
    podman: Podman, endpoint: Endpoint, tmp_path: Path
) -> None:
    boto3.client("s3", endpoint_url=endpoint.url, aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1").create_bucket(
        Bucket="bucket"
    )
    out, address = tmp_path / "out", free_address()
    out.mkdir(mode=0o700)
    os.chown(out, 1001, 1001)
    with MetadataProcess() as metadata:
        settings = {
            **endpoint.environment(),
            "SPOTGUARD_DESTINATION__URL": "s3://bucket/run1",
            "SPOTGUARD_DESTINATION__ENDPOINT_URL": endpoint.url,
            "SPOTGUARD_IMDS__ENDPOINT": metadata.url,
            "SPOTGUARD_IMDS__POLL_SECONDS": "1",
            "SPOTGUARD_TRAINER__PROCESS": "demo[.]trainer",
            "SPOTGUARD_TRAINER__SIGNAL": "SIGUSR1",
            "SPOTGUARD_HTTP__LISTEN": address,
        }
        podman.start("namespace", "--init", "--cap-drop=all", "--entrypoint", "sleep", command=("infinity",))
        shared = ("--pid", f"container:{podman.called('namespace')}")
        podman.start(
            "trainer",
            *(*shared, "--user", "1001:1001", "--umask", "0077", "-v", f"{out}:/out", "--entrypoint", "python"),
            command=("-c", _TRAIN, "--output", "/out", *_STEPS),
        )
        podman.start(
            "sidecar",
            *(*shared, "--user", "0:0", "--cap-drop=all", "--cap-add=DAC_READ_SEARCH", "--cap-add=KILL"),
            *("--security-opt", "no-new-privileges", "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/run/spotguard"),
            *("-v", f"{out}:/out:ro"),
            *(word for key, value in settings.items() for word in ("-e", f"{key}={value}")),
        )
        until("a commit", lambda: committed(ask(address, "/status")))
        assert {path.stat().st_mode & 0o777 for path in out.rglob("model.safetensors")} == {0o600}
        podman.call("exec", podman.called("sidecar"), "spotguard", "status", "--check")  # the image's health check
        metadata.interrupt(60)
        until("the verdict", lambda: ask(address, "/status").get("state") == "safe")
        status = ask(address, "/status")
        assert status["trainer"]["signalled_at"] is not None
        assert podman.exit_status("trainer") == 0  # it saved and stopped, and took nobody along
        newest = max(out.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2])).name
        assert status["interruption"]["last_committed"] == newest
        podman.call("stop", "-t", "30", podman.called("sidecar"))
        assert podman.exit_status("sidecar") == 0


def test_a_stop_sends_what_is_whole_before_it_ends(podman: Podman, endpoint: Endpoint, tmp_path: Path) -> None:
    client = boto3.client("s3", endpoint_url=endpoint.url, aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    out, address = tmp_path / "out", free_address()
    out.mkdir()
    settings = {
        **endpoint.environment(),
        "SPOTGUARD_DESTINATION__URL": "s3://bucket/run1",
        "SPOTGUARD_DESTINATION__ENDPOINT_URL": endpoint.url,
        "SPOTGUARD_HTTP__LISTEN": address,
    }
    podman.start("sidecar", "-v", f"{out}:/out:ro", *(word for key, value in settings.items() for word in ("-e", f"{key}={value}")))
    until("watching", lambda: ask(address, "/status").get("state") == "watching")
    (out / "step_7.npz.part").write_bytes(b"")
    (out / "step_8.pkl").write_bytes(b"x" * 100_000)  # whole after 10 s of quiet: not yet when it is stopped
    podman.call("stop", "-t", "60", podman.called("sidecar"))
    assert podman.exit_status("sidecar") == 0, podman.logs("sidecar")
    keys = [found["Key"] for found in client.list_objects_v2(Bucket="bucket").get("Contents", ())]
    assert any(key.startswith("run1/.spotguard/manifests/step_8.pkl/") for key in keys)
