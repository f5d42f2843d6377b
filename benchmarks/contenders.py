"""How each other tool moves a folder to the bucket and back, with its defaults."""

from __future__ import annotations

from pathlib import Path

from benchmarks.endpoint import BUCKET, HERE, Endpoint

Command = list[str]
TOOLS = ("s5cmd", "rclone", "aws-cli", "boto3")


def upload(tool: str, tools: Path, endpoint: Endpoint, folder: Path, prefix: str) -> Command:
    """The command of `tool` (programs in the folder `tools`) that sends what is in `folder` to `prefix`."""
    return {
        "s5cmd": [str(tools / "s5cmd"), "--endpoint-url", endpoint.url, "cp", f"{folder}/*", f"s3://{BUCKET}/{prefix}/"],
        "rclone": [str(tools / "rclone"), "copy", *_rclone(endpoint), str(folder), f":s3:{BUCKET}/{prefix}"],
        "aws-cli": [*_aws(tools, endpoint), str(folder), f"s3://{BUCKET}/{prefix}"],
        "boto3": [str(tools / "python"), str(HERE / "boto3_transfer.py"), "up", endpoint.url, BUCKET, prefix, str(folder)],
    }[tool]


def download(tool: str, tools: Path, endpoint: Endpoint, prefix: str, folder: Path) -> Command:
    """The command of `tool` that brings what is under `prefix` into `folder`."""
    return {
        "s5cmd": [str(tools / "s5cmd"), "--endpoint-url", endpoint.url, "cp", f"s3://{BUCKET}/{prefix}/*", f"{folder}/"],
        "rclone": [str(tools / "rclone"), "copy", *_rclone(endpoint), f":s3:{BUCKET}/{prefix}", str(folder)],
        "aws-cli": [*_aws(tools, endpoint), f"s3://{BUCKET}/{prefix}", str(folder)],
        "boto3": [str(tools / "python"), str(HERE / "boto3_transfer.py"), "down", endpoint.url, BUCKET, prefix, str(folder)],
    }[tool]


def _rclone(endpoint: Endpoint) -> Command:
    provider: Command = [
        "--config",
        "/dev/null",
        "--s3-provider",
        "Other",
        "--s3-env-auth",
        "--s3-force-path-style",
        "--s3-no-check-bucket",
        "--ignore-checksum",
    ]
    trusted: Command = ["--ca-cert", str(endpoint.certificate)] if endpoint.certificate else []
    return [*provider, "--s3-endpoint", endpoint.url, *trusted]


def _aws(tools: Path, endpoint: Endpoint) -> Command:
    return [str(tools / "python"), str(tools / "aws"), "s3", "cp", "--recursive", "--only-show-errors", "--endpoint-url", endpoint.url]
