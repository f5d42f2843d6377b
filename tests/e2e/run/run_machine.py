"""A machine on which `spotguard run` is called, and the bucket that it writes into."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import boto3

from spotguard.adapters.processes.process_table import all_pids, read_stat
from spotguard.demo.daemon_process import clean_environment, free_address
from tests.support.servers import Endpoint

TRAINER = Path(__file__).with_name("trainer.py")
T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], *, seconds: float = 60.0) -> T:
    """Asks again and again, because what is waited for happens in another process."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")


class Running:
    """One `spotguard run` that goes on; its output is read from files, so that nothing blocks."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, errors: Path) -> None:
        self.process = process
        self._output = output
        self._errors = errors

    @property
    def out(self) -> str:
        return self._output.read_text()

    @property
    def err(self) -> str:
        return self._errors.read_text()

    def told(self, field: str) -> list[Any]:
        """What the trainer said of this, in its order."""
        said = [json.loads(line) for line in self.out.splitlines() if line.startswith('{"')]
        return [line[field] for line in said if field in line]

    def wait_told(self, field: str, count: int = 1, *, seconds: float = 60.0) -> list[Any]:
        def look() -> list[Any] | None:
            self.check()
            return found if len(found := self.told(field)) >= count else None

        return wait_for(f"{field} from the trainer", look, seconds=seconds)

    def check(self) -> None:
        assert self.process.poll() is None, f"run ended with {self.process.returncode}:\n{self.out}\n{self.err}"

    def wait(self, seconds: float = 40.0) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"run did not end in {seconds:.0f} s:\n{self.out}\n{self.err}") from None

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.err.splitlines() if line.startswith('{"')]
        return [line for line in lines if line["event"] == event]

    @property
    def guard_pid(self) -> int:
        """The forked child that has the same command line."""
        trainer = self.told("pid")
        children = [pid for pid in all_pids() if (stat := read_stat(pid)) is not None and stat.ppid == self.process.pid]
        (guard,) = [pid for pid in children if pid not in trainer]
        return guard


class RunMachine:
    def __init__(self, endpoint: Endpoint, folder: Path, bucket: str) -> None:
        self.endpoint = endpoint
        self.folder = folder
        self.output = folder / "out"
        self.bucket = bucket
        self.url = f"s3://{bucket}/run1"
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint.url,
            aws_access_key_id=endpoint.access_key,
            aws_secret_access_key=endpoint.secret_key,
            region_name="us-east-1",
        )
        self.client.create_bucket(Bucket=bucket)
        self._running: list[Running] = []
        (folder / "run").mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Whatever is left of any `run` is killed: everything that was started here has our folder in its environment."""
        mark = f"SPOTGUARD_TEST_FOLDER={self.folder}".encode()
        for pid in all_pids():
            with suppress(OSError):
                if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    os.kill(pid, signal.SIGKILL)
        for running in self._running:
            running.process.wait(10)

    def environment(self, **extra: str) -> dict[str, str]:
        ours = {"RUNTIME_DIRECTORY": str(self.folder / "run"), "SPOTGUARD_TEST_FOLDER": str(self.folder)}
        return {**clean_environment(), **self.endpoint.environment(), **ours, **extra}

    def words(self, *arguments: str | Path, name: str = "run", **settings: object) -> list[str]:
        given = {
            "destination.endpoint_url": self.endpoint.url,
            "http.listen": free_address(),
            "watch.settle_seconds": 0.5,
            "imds.mode": "off",
            **{key.replace("__", "."): value for key, value in settings.items()},
        }
        options = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
        words = [sys.executable, "-m", "spotguard", name, "--dir", self.output, "--url", self.url, *options, *arguments]
        return [str(word) for word in words]

    def start(self, *arguments: str | Path, before: tuple[str, ...] = (), name: str = "run", **settings: object) -> Running:
        """Call `spotguard run OPTIONS -- CMD…`; `settings`: `imds__poll_seconds=1`."""
        at = len(self._running)
        output, errors = self.folder / f"out-{at}", self.folder / f"err-{at}"
        with output.open("wb") as out, errors.open("wb") as err:
            process = subprocess.Popen(
                [*before, *self.words(*arguments, name=name, **settings)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=self.environment(),
            )  # fmt: skip
        running = Running(process, output, errors)
        self._running.append(running)
        return running

    def train(self, *options: str, run: tuple[str, ...] = (), before: tuple[str, ...] = (), **settings: object) -> Running:
        """`spotguard run` with the trainer of these tests."""
        return self.start(*run, "--", sys.executable, TRAINER, self.output, *options, before=before, **settings)

    def listing(self) -> list[str]:
        """Of the run, without its prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="run1/")
        return [entry["Key"].removeprefix("run1/") for page in pages for entry in page.get("Contents", ())]

    def committed(self) -> list[str]:
        manifests = [key for key in self.listing() if key.startswith(".spotguard/manifests/")]
        return sorted({key.removeprefix(".spotguard/manifests/").rpartition("/")[0] for key in manifests})

    def read(self, key: str) -> Any:
        return json.loads(self.client.get_object(Bucket=self.bucket, Key=f"run1/{key}")["Body"].read())

    def released(self) -> bool:
        claims = [key for key in self.listing() if key.startswith(".spotguard/claims/")]
        return bool(claims) and claims[-1].endswith(".released.json")
