"""What the end-to-end tests look at: what a bucket holds, what a daemon says, and checkpoints as a trainer writes them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import boto3

from spotguard.core.manifest_format import decode
from spotguard.core.run_keys import RunKeys
from tests.support.machine import hf_files
from tests.support.servers import ACCESS_KEY, SECRET_KEY

T = TypeVar("T")


def s3_client(endpoint_url: str) -> Any:
    return boto3.client(
        "s3", endpoint_url=endpoint_url, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name="us-east-1"
    )


def keys_in(client: Any, bucket: str, prefix: str = "") -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", ())]


def committed_in(client: Any, bucket: str, run: str = "run1") -> dict[str, dict[str, bytes]]:
    """By name, the bytes that the manifests of the run name. Fails if one is missing."""
    found = {}
    keys = RunKeys(bucket, run)
    for key in keys_in(client, bucket, keys.manifests):
        manifest = decode(client.get_object(Bucket=bucket, Key=key)["Body"].read())
        found[manifest.name] = {
            file.path: client.get_object(Bucket=bucket, Key=keys.absolute(file.key))["Body"].read() for file in manifest.files
        }
    return found


def write_checkpoint(root: Path, step: int, size: int, rng: random.Random) -> dict[str, bytes]:
    """A whole checkpoint of the Hugging Face Trainer, with `size` bytes of weights; its files."""
    files = hf_files(step, weights=rng.randbytes(size), salt=rng.randrange(10**9))
    folder = root / f"checkpoint-{step}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return files


def content_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wait_until(holds: Callable[[], object], *, seconds: float = 30.0) -> None:
    wait_for(lambda: holds() or None, seconds=seconds)


def wait_for(look: Callable[[], T | None], *, seconds: float = 30.0) -> T:
    """The first thing that is seen."""
    give_up = time.monotonic() + seconds
    while (seen := look()) is None:
        assert time.monotonic() < give_up, "it did not come to be in time"
        time.sleep(0.05)
    return seen


def checkpoint_in(status: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a status says of one checkpoint; empty when it does not name it."""
    return next((checkpoint for checkpoint in status["checkpoints"] if checkpoint["name"] == name), {})


def state_of(status: Mapping[str, Any], name: str) -> str | None:
    return checkpoint_in(status, name).get("state")


def problems_of(status: Mapping[str, Any]) -> list[str]:
    return [problem["code"] for problem in status["problems"]]
