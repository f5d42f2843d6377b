"""What must not be restored, and where it cannot be: each told in one line, with its exit status, and nothing half under any name."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from spotguard.core.run_keys import RunKeys
from spotguard.core.timestamps import format_time
from tests.e2e.place import Place, one_line
from tests.e2e.world import keys_in
from tests.support.committed_run import CommittedRun, content_of, hf_files
from tests.support.meddling_proxy import Answer, Asked, meddling
from tests.support.servers import Endpoint, moto

LATER = datetime(2033, 5, 18, tzinfo=UTC)
"""A manifest of this time is the newest."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with moto.running() as running:
        yield running


@pytest.fixture
def place(endpoint: Endpoint, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    place = Place(endpoint, f"b{abs(hash(request.node.nodeid)):x}", tmp_path / "out")
    place.client.create_bucket(Bucket=place.bucket)
    return place


async def one(run: CommittedRun) -> None:
    await run.commit("checkpoint-50", hf_files(50))


def plant(place: Place, change: Callable[[dict[str, Any]], object] | bytes) -> None:
    """Put the manifest of checkpoint-50, changed, beside it as that of a later checkpoint-60; or these bytes."""
    keys = RunKeys(place.bucket, "run1")
    if isinstance(change, bytes):
        body = change
    else:
        (stored,) = place.client.list_objects_v2(Bucket=place.bucket, Prefix=keys.manifests)["Contents"]
        manifest = json.loads(place.client.get_object(Bucket=place.bucket, Key=stored["Key"])["Body"].read())
        manifest |= {"name": "checkpoint-60", "step": 60, "saved_at": format_time(LATER)}
        change(manifest)
        body = json.dumps(manifest).encode()
    place.client.put_object(Bucket=place.bucket, Key=keys.manifest("checkpoint-60", 1, LATER), Body=body)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (b"\x00garbage", "is not JSON"),
        (lambda manifest: manifest.update(format=2), "upgrade spotguard"),
        (lambda manifest: manifest["files"][0].update(path="../../etc/passwd"), "'../../etc/passwd' leads out of the checkpoint"),
        (lambda manifest: manifest["files"][0].update(path="/etc/passwd"), "'/etc/passwd'"),
        (lambda manifest: manifest.update(companions=[{"path": "../../etc/passwd", "content": "eA=="}]), "'../../etc/passwd'"),
    ],
)
def test_a_manifest_that_may_not_be_acted_on_is_named_and_the_older_one_restored(place: Place, change: Any, reason: str) -> None:
    place.commit(one)
    plant(place, change)
    done = place.run("restore", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["name"], [skipped["name"] for skipped in told["skipped"]]) == ("checkpoint-50", ["checkpoint-60"])
    assert reason in told["skipped"][0]["reason"]
    assert content_of(place.root.parent) == {f"out/checkpoint-50/{path}": content for path, content in hf_files(50).items()}


def test_where_only_such_a_manifest_is_left_nothing_is_restored_or_started(place: Place) -> None:
    place.commit(one)
    plant(place, lambda manifest: manifest["files"][0].update(path="../../etc/passwd"))
    (older, _) = sorted(keys_in(place.client, place.bucket, RunKeys(place.bucket, "run1").manifests))
    place.client.delete_object(Bucket=place.bucket, Key=older)
    for command in (["restore"], ["resume", "--", "echo", "started"], ["verify"]):
        done = place.run(*command)
        assert (done.returncode, "started" in done.stdout, "'../../etc/passwd'" in one_line(done)) == (4, False, True), done.stderr
    assert content_of(place.root.parent) == {}


def test_objects_without_a_manifest_keep_the_trainer_from_starting_unless_told_to(place: Place) -> None:
    place.client.put_object(Bucket=place.bucket, Key="run1/checkpoint-9/trainer_state.json", Body=b"{}")
    place.client.put_object(Bucket=place.bucket, Key="run1/checkpoint-9/model.safetensors", Body=b"12345678")
    done = place.run("resume", "--", "echo", "started")
    assert (done.returncode, done.stdout) == (4, "")
    assert "adopt" in one_line(done)
    assert "--fresh" in done.stderr
    fresh = place.run("resume", "--fresh", "--", "echo", "started")
    assert (fresh.returncode, fresh.stdout.splitlines()[-1]) == (0, "started")


async def a_large_one(run: CommittedRun) -> None:
    await run.commit("checkpoint-50", hf_files(50))
    files = {f"shard-{n}.dat": random.Random(n).randbytes(1 << 20) for n in range(4)}
    await run.commit("checkpoint-100", {**hf_files(100), **files})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root and mount(8)")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"a small disk can not be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(("moment", "status"), [("prefix=run1/checkpoint-100", 1), ("shard-", 0)])
def test_a_disk_that_fills_is_met_before_the_first_byte_and_can_not_fill_after_it(
    place: Place, small_disk: Path, moment: str, status: int
) -> None:
    """Every block is reserved before anything is fetched: nobody can take it away any more."""
    place.commit(a_large_one)
    place.root, hog = small_disk / "out", small_disk / "hog"

    def fill(asked: Asked) -> Answer | None:
        if asked.method == "GET" and moment in unquote(asked.target) and not hog.exists():
            with hog.open("wb") as file, suppress(OSError):
                file.write(bytes(16 << 20))
        return None

    with meddling(place.endpoint.url) as proxy:
        proxy.meddle = fill
        done = place.run("restore", settings=(f"destination.endpoint_url={proxy.url}",))
    assert hog.exists(), "the disk was not filled"
    assert done.returncode == status, done.stderr
    if status:
        assert "free some space" in one_line(done)
        assert not (place.root / "checkpoint-100").exists()
        hog.unlink()
        assert place.run("restore").returncode == 0
    assert len(content_of(place.root / "checkpoint-100")) == 4 + len(hf_files(100))


def test_a_write_that_fails_during_a_restore_leaves_nothing_half(place: Place) -> None:
    """A limit on the size of files stands for a disk that fills: it needs no rights, and no look ahead can see it."""
    place.commit(a_large_one)
    command, environment = place.command("restore"), place.environment()
    limited = ["sh", "-c", 'ulimit -f 512; exec "$@"', "sh", *command]  # blocks of 512 or 1024 bytes
    done = subprocess.run(limited, capture_output=True, text=True, timeout=50, check=False, env=environment)
    assert done.returncode == 1
    assert "checkpoint-100" in one_line(done) or "shard-" in done.stderr
    assert content_of(place.root) == {} if place.root.exists() else True
    assert place.run("restore").returncode == 0
    assert len(content_of(place.root / "checkpoint-100")) == 4 + len(hf_files(100))
