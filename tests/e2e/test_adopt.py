"""A run that another tool copied to S3, taken over: adopted, restored byte for byte, and what is half refused."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
import structlog
from click.testing import CliRunner

from spotguard.cli.main import cli
from spotguard.core.manifest_format import decode, encode
from tests.support.committed_run import hf_files
from tests.support.servers import Endpoint, moto


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with moto.running() as running:
        yield running


@pytest.fixture(scope="module")
def client(endpoint: Endpoint) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
        region_name="us-east-1",
    )


def torch_file(text: str) -> bytes:
    """A zip as torch.save writes one, as far as its end is concerned."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", text * 3000)
    return buffer.getvalue()


def training_files(step: int) -> dict[str, bytes]:
    more = {name: torch_file(f"{name} {step}") for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin")}
    return hf_files(step) | more


class Called(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@dataclass
class CopiedRun:
    endpoint: Endpoint
    client: Any
    bucket: str
    source: Path
    target: Path

    def write(self, name: str, files: dict[str, bytes]) -> None:
        for path, content in files.items():
            file = self.source / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    def copy(self, **extra: Any) -> None:
        """What `aws s3 sync` does: each file to its key, one by one."""
        for file in sorted(self.source.rglob("*")):
            if file.is_file():
                key = f"run1/{file.relative_to(self.source).as_posix()}"
                self.client.upload_file(str(file), self.bucket, key, ExtraArgs=extra)

    def run(self, command: str, *arguments: str) -> Called:
        options = ["--dir", str(self.target), "--url", f"s3://{self.bucket}/run1"]
        settings = {"destination.endpoint_url": self.endpoint.url, "watch.settle_seconds": "0", "http.listen": "null"}
        options += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        result = CliRunner().invoke(cli, [command, *options, *arguments])
        structlog.reset_defaults()
        return Called(result.exit_code, result.stdout, result.stderr)

    def keys(self, prefix: str = "run1/") -> list[str]:
        return [entry["Key"] for entry in self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])]

    def manifest(self, name: str) -> Any:
        [key] = self.keys(f"run1/.spotguard/manifests/{name}/")
        return decode(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())


@pytest.fixture
def copied(endpoint: Endpoint, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CopiedRun:
    for name, value in endpoint.environment().items():
        monkeypatch.setenv(name, value)
    bucket = f"copied-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    (tmp_path / "new").mkdir()
    return CopiedRun(endpoint, client, bucket, tmp_path / "old", tmp_path / "new")


def content_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("extra", [{}, {"ChecksumAlgorithm": "CRC64NVME"}], ids=["sums-by-reading", "sums-of-the-store"])
def test_what_was_copied_is_adopted_and_restored_byte_for_byte(copied: CopiedRun, extra: dict[str, str]) -> None:
    for step in (900, 1000):
        copied.write(f"sft/checkpoint-{step}", training_files(step))
    copied.write("", {"training_state.json": b'{"step": 1000}', "notes.txt": b"ours"})
    copied.copy(**extra)
    before = copied.keys()
    [line] = [line for line in copied.run("restore").stderr.splitlines() if "without a manifest" in line]
    assert "`spotguard adopt`" in line
    done = copied.run("adopt", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [one["name"] for one in told["adopted"]] == ["sft/checkpoint-900", "sft/checkpoint-1000"]
    assert all((one["bytes_read"] == 0) == bool(extra) for one in told["adopted"])
    assert told["loose"] == 2
    assert set(before) < set(copied.keys())
    newest = copied.manifest("sft/checkpoint-1000")
    assert (newest.reason, newest.training_state, newest.generation) == ("adopted", {"step": 1000}, 1)
    assert copied.manifest("sft/checkpoint-900").companions == ()
    restored = copied.run("restore")
    assert restored.returncode == 0, restored.stderr
    expected = {path: body for path, body in content_of(copied.source).items() if "checkpoint-900" not in path}
    assert {path: body for path, body in content_of(copied.target).items() if not path.startswith(".spotguard")} == expected
    assert copied.run("verify").returncode == 0
    again = copied.run("adopt", "--json")
    assert (again.returncode, json.loads(again.stdout)["already"]) == (0, ["sft/checkpoint-900", "sft/checkpoint-1000"])


def torn_files(how: str) -> dict[str, bytes]:
    files = training_files(200)
    if how == "no marker":
        del files["trainer_state.json"]
    elif how == "cut safetensors":
        files["model.safetensors"] = files["model.safetensors"][:-10]
    elif how == "cut optimizer":
        files["optimizer.pt"] = files["optimizer.pt"][: len(files["optimizer.pt"]) // 2]
    elif how == "no optimizer":
        del files["optimizer.pt"]
    return files


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("no marker", "no trainer_state.json yet"),
        ("cut safetensors", "model.safetensors has"),
        ("cut optimizer", "optimizer.pt has no zip end record"),
        ("no optimizer", "no optimizer state in it"),
    ],
)
def test_a_torn_checkpoint_is_refused_with_its_reason_and_the_whole_one_before_it_adopted(copied: CopiedRun, how: str, reason: str) -> None:
    copied.write("checkpoint-100", training_files(100))
    copied.write("checkpoint-200", torn_files(how))
    copied.write("", {"training_state.json": b'{"step": 200}'})
    copied.copy()
    done = copied.run("adopt", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert [one["name"] for one in told["adopted"]] == ["checkpoint-100"]
    [refused] = told["refused"]
    assert refused["name"] == "checkpoint-200"
    assert reason in refused["reason"]
    assert "checkpoint-200 was not adopted" in done.stderr
    assert copied.manifest("checkpoint-100").companions == ()  # the state is that of step 200: with 100 it would be a mixture
    assert copied.run("adopt", "checkpoint-200").returncode == 4


def test_a_lone_half_of_a_first_save_is_not_taken_for_a_checkpoint_of_another_kind(copied: CopiedRun) -> None:
    copied.write("checkpoint-100", {"config.json": b"{}", "model.safetensors": hf_files(100)["model.safetensors"]})
    copied.copy()
    done = copied.run("adopt")
    assert done.returncode == 4
    assert "--set watch.layout=generic-dir" in done.stderr
    assert copied.run("adopt", "--set", "watch.layout=generic-dir").returncode == 0


def test_nothing_to_adopt_is_exit_3_and_a_wrong_name_says_what_is_there(copied: CopiedRun) -> None:
    assert copied.run("adopt").returncode == 3
    copied.write("checkpoint-100", training_files(100))
    copied.copy()
    done = copied.run("adopt", "checkpoint-1")
    assert done.returncode == 3
    assert "it has checkpoint-100" in done.stderr


def test_objects_of_an_upload_of_our_own_that_was_cut_off_are_not_adopted(copied: CopiedRun) -> None:
    copied.write("checkpoint-100", training_files(100))
    metadata = {"spotguard-run": f"s3://{copied.bucket}/run1", "spotguard-checkpoint": "checkpoint-100"}
    copied.copy(Metadata=metadata)
    done = copied.run("adopt")
    assert done.returncode == 4
    assert "cut off before its commit" in done.stderr


def test_another_host_that_has_just_committed_keeps_us_from_adopting(copied: CopiedRun) -> None:
    copied.write("checkpoint-100", training_files(100))
    copied.copy()
    assert copied.run("adopt").returncode == 0
    manifest = copied.manifest("checkpoint-100")
    theirs = json.loads(encode(manifest)) | {"host": {"hostname": "other", "instance_id": None}}
    [key] = copied.keys("run1/.spotguard/manifests/checkpoint-100/")
    copied.client.put_object(Bucket=copied.bucket, Key=key, Body=json.dumps(theirs).encode())
    claim = {"claim": 1, "nonce": "n", "host": {"hostname": "other", "instance_id": None}, "pid": 1, "version": "0"}
    copied.client.put_object(Bucket=copied.bucket, Key="run1/.spotguard/claims/00000001.json", Body=json.dumps(claim).encode())
    copied.write("checkpoint-200", training_files(200))
    copied.copy()
    done = copied.run("adopt")
    assert done.returncode == 1
    assert "other" in done.stderr
    assert "stop its daemon first" in done.stderr
    assert copied.keys("run1/.spotguard/manifests/checkpoint-200/") == []


def test_a_prefix_inside_another_run_is_refused(copied: CopiedRun) -> None:
    copied.write("inner/checkpoint-100", training_files(100))
    copied.copy()
    copied.client.put_object(Bucket=copied.bucket, Key=".spotguard/claims/00000001.json", Body=b"{}")
    done = copied.run("adopt")
    assert done.returncode == 2
    assert "lies inside the run" in done.stderr
