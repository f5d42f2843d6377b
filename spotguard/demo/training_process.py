"""The demo's trainer as a child process whose JSON lines can be read while it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class TrainingProcess:
    """Runs a command whose output goes to a file; lines that are JSON objects with an `event` are what it tells."""

    def __init__(self, command: Sequence[str], *, output: Path, environment: Mapping[str, str]) -> None:
        self._output = output
        with output.open("wb") as stream:
            self._process = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def returncode(self) -> int | None:
        return self._process.poll()

    def wait(self, timeout: float) -> int:
        return self._process.wait(timeout)

    def kill(self) -> None:
        """Idempotent."""
        self._process.kill()
        self._process.wait()

    def lines(self) -> list[str]:
        """What it printed so far, whole lines only."""
        return [line for line in self._output.read_text(errors="replace").splitlines(keepends=True) if line.endswith("\n")]

    def told(self, event: str) -> list[dict[str, Any]]:
        """All events of this kind so far."""
        return [entry for line in self.lines() if (entry := _event(line)) is not None and entry["event"] == event]

    def last_step(self) -> int:
        """The last step it finished, 0 before any."""
        steps = self.told("step")
        return int(steps[-1]["step"]) if steps else 0


def trainer_command(**options: object) -> list[str]:
    """The command line of the demo's trainer: `save_steps=5` becomes `--save-steps 5`."""
    command = [sys.executable, "-m", "spotguard.demo.trainer"]
    for name, value in options.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    return command


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "event" in entry else None
