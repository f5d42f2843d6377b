"""The real command line in tests: a machine's folder with a configuration, its daemon, and commands beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from spotguard.demo.daemon_process import DaemonProcess, clean_environment, free_address
from spotguard.demo.embedded_s3 import environment as s3_environment
from spotguard.demo.training_process import TrainingProcess


class CommandMachine:
    """`folder/out` is the watch root. What was started is killed at the end of `with`.

    Settings are dotted keys: `"imds.poll_seconds": 1`."""

    def __init__(self, folder: Path, *, url: str, endpoint_url: str, settings: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.output = folder / "out"
        self.pid_file = folder / "trainer.pid"
        self.config_file = folder / "spotguard.yaml"
        self.address = free_address()
        self.variables: dict[str, str] = {}
        """Added to the environment of whatever is started."""
        self._scope = ExitStack()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run").mkdir(exist_ok=True)
        given = {"watch.dir": str(self.output), "destination.url": url, "destination.endpoint_url": endpoint_url}
        self.configure({**given, "http.listen": self.address, "imds.mode": "off", **(settings or {})})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._scope.close()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write the configuration file: these keys and no others."""
        nested: dict[str, dict[str, Any]] = {}
        for key, value in settings.items():
            section, _, field = key.partition(".")
            nested.setdefault(section, {})[field] = value
        self.config_file.write_text(yaml.safe_dump(nested))

    def environment(self) -> dict[str, str]:
        return (
            clean_environment()
            | s3_environment()
            | {"RUNTIME_DIRECTORY": str(self.folder / "run"), "PYTHONUNBUFFERED": "1"}
            | self.variables
        )

    def daemon(self, *, ready: bool = True) -> DaemonProcess:
        """Start the daemon; with `ready` wait until it is. Its log is `folder/daemon.log`. Raises DaemonTrouble."""
        process = DaemonProcess(self.config_file, address=self.address, environment=self.environment(), log=self.folder / "daemon.log")
        self._scope.callback(process.kill)
        if ready:
            process.wait_ready()
        return process

    def start(self, *command: str | Path, output: str) -> TrainingProcess:
        """Start any command; what it prints goes to `folder/OUTPUT`."""
        process = TrainingProcess([str(word) for word in command], output=self.folder / output, environment=self.environment())
        self._scope.callback(process.kill)
        return process

    def spotguard(self, *arguments: str | Path, timeout: float = 50.0) -> subprocess.CompletedProcess[str]:
        """Run `spotguard COMMAND -c CONFIG …` to its end."""
        command, *rest = (str(word) for word in arguments)
        return subprocess.run(
            [sys.executable, "-m", "spotguard", command, "-c", str(self.config_file), *rest],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def json(self, *arguments: str | Path) -> Any:
        """What a command prints with `--json`; it must succeed."""
        done = self.spotguard(*arguments, "--json")
        assert done.returncode == 0, f"{arguments}: status {done.returncode}: {done.stderr}"
        return json.loads(done.stdout)
