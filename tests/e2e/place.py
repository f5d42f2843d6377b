"""A place that commands bring a run back to: a bucket whose commits were made by hand, and a folder."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from spotguard.adapters.s3.connection import connect
from spotguard.adapters.s3.settings import S3Settings
from spotguard.core.run_keys import RunKeys
from tests.e2e.world import s3_client
from tests.support.committed_run import CommittedRun
from tests.support.servers import Endpoint


@dataclass
class Place:
    endpoint: Endpoint
    bucket: str
    root: Path

    @property
    def client(self) -> Any:
        return s3_client(self.endpoint.url)

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/run1"

    def commit(self, work: Callable[[CommittedRun], Awaitable[Any]]) -> None:
        async def main() -> None:
            settings = S3Settings(
                bucket=self.bucket, region="us-east-1", endpoint_url=self.endpoint.url, storage_class=None, sse=None, kms_key_id=None
            )
            async with connect(settings) as connection:
                await work(CommittedRun(connection.store, RunKeys(self.bucket, "run1")))

        with environment(self.endpoint.environment()):
            asyncio.run(main())

    def command(self, *arguments: str, settings: tuple[str, ...] = ()) -> list[str]:
        name, *rest = arguments
        options = ["--dir", str(self.root), "--url", self.url, "--set", f"destination.endpoint_url={self.endpoint.url}"]
        options += [word for setting in settings for word in ("--set", setting)]
        return [sys.executable, "-m", "spotguard", name, *options, *rest]

    def run(self, *arguments: str, settings: tuple[str, ...] = (), **extra: str) -> subprocess.CompletedProcess[str]:
        command = self.command(*arguments, settings=settings)
        return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, env=self.environment(**extra))

    def environment(self, **extra: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.root.parent), **self.endpoint.environment(), **extra}


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr
