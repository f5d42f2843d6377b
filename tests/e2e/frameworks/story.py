"""One run of a framework under the real daemon: what it saved, what was committed of it, and when."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from spotguard.core.checkpoint import Unit
from spotguard.core.manifest import Manifest
from spotguard.core.manifest_format import decode
from spotguard.core.run_keys import RunKeys
from spotguard.demo.embedded_s3 import EmbeddedS3
from spotguard.demo.embedded_s3 import environment as s3_environment
from spotguard.demo.training_process import TrainingProcess
from tests.e2e.frameworks.frameworks import Framework
from tests.e2e.hf.training_run import wait_for
from tests.support.daemon_process import CommandMachine

BUCKET = "frameworks"
SAVES = 3
_START_SECONDS = 90.0
_COMMIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Save:
    """What the script told when the framework had finished a save."""

    step: int
    name: str
    weights: str
    files: Mapping[str, str]
    """Path under the watch root -> SHA-256."""
    beside: Mapping[str, str]
    """The same of what was written with it and may be a checkpoint of its own."""
    pauses: int
    """How often rank 0 waited in the middle of it."""


@dataclass(frozen=True, slots=True)
class Commit:
    manifest: Manifest
    files: Mapping[str, str]
    """Path under the watch root -> SHA-256 of the object in the bucket."""


@dataclass(frozen=True, slots=True)
class Story:
    framework: Framework
    output: Path
    saves: tuple[Save, ...]
    commits: tuple[Commit, ...]
    seconds_to_commit: float
    """From the last byte of the last save to its commit."""

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/{self.framework.name}"


class RunBucket:
    """The run's prefix, read as anyone can read it."""

    def __init__(self, server: EmbeddedS3, prefix: str) -> None:
        self._keys = RunKeys(BUCKET, prefix)
        environment = s3_environment()
        self._client = boto3.client(
            "s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip
        self._read: dict[str, Commit] = {}

    def commits(self) -> tuple[Commit, ...]:
        """All that is committed, the oldest first."""
        listed = self._client.list_objects_v2(Bucket=BUCKET, Prefix=self._keys.manifests).get("Contents", ())
        for key in {item["Key"] for item in listed} - self._read.keys():
            manifest = decode(self._get(key))
            below = f"{manifest.name}/" if manifest.unit is Unit.DIRECTORY else f"{manifest.stage}/" if manifest.stage else ""
            files = {f"{below}{file.path}": self._sha256(self._keys.absolute(file.key)) for file in manifest.files}
            self._read[key] = Commit(manifest, files)
        return tuple(sorted(self._read.values(), key=lambda commit: commit.manifest.committed_at))

    def _sha256(self, key: str) -> str:
        return hashlib.sha256(self._get(key)).hexdigest()

    def _get(self, key: str) -> bytes:
        body: bytes = self._client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return body


def tell_story(framework: Framework, python: Path, server: EmbeddedS3, folder: Path) -> Story:
    """Train under the daemon; the training goes on after a save when that save is committed."""
    go = folder / "go"
    go.mkdir(parents=True)
    bucket = RunBucket(server, framework.name)
    settings = {"watch.settle_seconds": framework.settle_seconds, "watch.rescan_seconds": 5, "upload.part_size_mib": 8}
    url = f"s3://{BUCKET}/{framework.name}"
    with CommandMachine(folder / "a", url=url, endpoint_url=server.url, settings=settings) as machine:
        machine.daemon()
        options = ("--steps", framework.steps, "--slow", framework.slow, "--lockstep", go)
        training = machine.start(*framework.command(python, machine.output, *options), output="train.log")
        for number in range(1, SAVES + 1):
            save = wait_for(f"save {number} of {framework.name}", lambda n=number: _told(training, n), timeout=_START_SECONDS)
            wait_for(f"the commit of {save.name} (step {save.step})", lambda s=save: _has(bucket, s), timeout=_COMMIT_SECONDS)
            (go / str(number)).touch()
        assert training.wait(60) == 0, "".join(training.lines()[-20:])
        log = (machine.folder / "daemon.log").read_text()
        saves = tuple(_save(entry) for entry in training.told("saved"))
        return Story(framework, machine.output, saves, bucket.commits(), _seconds_to_commit(log, saves[-1].name))


def matching_save(commit: Commit, saves: tuple[Save, ...]) -> Save | None:
    """The save that a commit is, byte for byte and with all its files, or None."""
    for save in saves:
        if commit.files == (save.files if commit.manifest.name == save.name else {path: save.beside.get(path) for path in commit.files}):
            return save
    return None


def _told(training: TrainingProcess, number: int) -> Save | None:
    told = training.told("saved")
    if len(told) < number:
        assert training.returncode() is None, "".join(training.lines()[-20:])
        return None
    return _save(told[number - 1])


def _save(entry: Mapping[str, Any]) -> Save:
    return Save(entry["step"], entry["name"], entry["weights"], entry["files"], entry["beside"], entry["pauses"])


def _has(bucket: RunBucket, save: Save) -> bool | None:
    return any(commit.manifest.name == save.name and commit.files == save.files for commit in bucket.commits()) or None


def _seconds_to_commit(log: str, name: str) -> float:
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    commits = [line for line in lines if line["event"] == "checkpoint.committed" and line["name"] == name]
    return float(commits[-1]["since_last_write_seconds"])
