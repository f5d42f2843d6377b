"""Where the demo plays: the cloud that outlives its machines, and the machines with a folder, a trainer and a daemon each."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from spotguard.demo.daemon_process import DaemonProcess, clean_environment, free_address
from spotguard.demo.embedded_s3 import environment as s3_environment
from spotguard.demo.training_process import TrainingProcess, trainer_command

DESTINATION = "s3://spotguard-demo/line"
_STATUS_PORT = 9477


class InterruptingService(Protocol):
    """What the story needs of the metadata service."""

    @property
    def url(self) -> str: ...

    def interrupt(self, in_seconds: float) -> None:
        """From now on say that the instance will be terminated in so many seconds."""
        ...

    def withdraw(self) -> None:
        """Say nothing any more, as the service of another machine."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How large and how slow everything is."""

    steps: int = 80
    save_steps: int = 20
    step_seconds: float = 0.12
    save_seconds: float = 0.4
    checkpoint_mib: float = 6.0
    notice_seconds: float = 20.0
    margin_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person at the terminal wants otherwise than the demo would have it."""

    destination: str = DESTINATION
    """The run, in the embedded S3."""
    output: Path | None = None
    """The watch root of both machines, which goes with each; None: a folder of their own."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """`SPOTGUARD_…__…` for the daemons and the restore."""

    @property
    def bucket(self) -> str:
        return self.destination.removeprefix("s3://").partition("/")[0]


@dataclass(frozen=True, slots=True)
class Cloud:
    s3_url: str
    metadata: InterruptingService
    wishes: Wishes = Wishes()


class Machine:
    """One "instance": a folder that goes when it goes."""

    def __init__(self, folder: Path, *, logs: Path, cloud: Cloud, pace: Pace, scope: ExitStack) -> None:
        self.folder = folder
        self.output = cloud.wishes.output or folder / "out"
        self.config_file = folder / "spotguard.yaml"
        self._logs = logs
        self._cloud = cloud
        self._pace = pace
        self._scope = scope
        self._pid_file = folder / "trainer.pid"
        self._address = free_address(_STATUS_PORT)
        folder.mkdir()
        (folder / "run").mkdir()
        self.config_file.write_text(self._config())

    def _config(self) -> str:
        """YAML; JSON strings are YAML strings, so any path may stand there."""
        return "\n".join(
            [
                f"watch: {{dir: {json.dumps(str(self.output))}}}",
                f"destination: {{url: {json.dumps(self._cloud.wishes.destination)}, endpoint_url: {json.dumps(self._cloud.s3_url)}}}",
                f"imds: {{endpoint: {json.dumps(self._cloud.metadata.url)}, poll_seconds: 1}}",
                f"trainer: {{pid_file: {json.dumps(str(self._pid_file))}, signal: SIGUSR1}}",
                f"interruption: {{margin_seconds: {self._pace.margin_seconds:g}}}",
                f"http: {{listen: {json.dumps(self._address)}}}",
                "",
            ]
        )

    def environment(self) -> dict[str, str]:
        own = {"RUNTIME_DIRECTORY": str(self.folder / "run"), "PYTHONUNBUFFERED": "1"}
        return clean_environment() | s3_environment() | dict(self._cloud.wishes.variables) | own

    def start_daemon(self) -> DaemonProcess:
        """Returns when it is ready. Raises DaemonTrouble."""
        log = self._logs / f"{self.folder.name}-daemon.log"
        daemon = DaemonProcess(self.config_file, address=self._address, environment=self.environment(), log=log)
        self._scope.callback(daemon.kill)
        daemon.wait_ready()
        return daemon

    def trainer(self, *extra: str) -> list[str]:
        pace = self._pace
        return [
            *trainer_command(
                output=self.output,
                steps=pace.steps,
                save_steps=pace.save_steps,
                step_seconds=pace.step_seconds,
                save_seconds=pace.save_seconds,
                checkpoint_mib=pace.checkpoint_mib,
                pid_file=self._pid_file,
            ),
            *extra,
        ]

    def start(self, command: Sequence[str], name: str) -> TrainingProcess:
        process = TrainingProcess(command, output=self._logs / f"{self.folder.name}-{name}.log", environment=self.environment())
        self._scope.callback(process.kill)
        return process

    def start_training(self) -> TrainingProcess:
        return self.start(self.trainer(), "trainer")

    def resume_training(self) -> TrainingProcess:
        resume = [sys.executable, "-m", "spotguard", "resume", "-c", str(self.config_file), "--"]
        return self.start([*resume, *self.trainer("--resume", "{checkpoint}")], "resume")

    def vanish(self, daemon: DaemonProcess, training: TrainingProcess) -> None:
        """What the deadline does: no process gets another instruction, the disk is gone."""
        daemon.kill()
        training.kill()
        shutil.rmtree(self.folder)
        shutil.rmtree(self.output, ignore_errors=True)  # where it is not in the folder


def train_uninterrupted(folder: Path, pace: Pace) -> tuple[list[str], Callable[[], Path]]:
    """The command of the same training without pauses and interruptions, and where its last checkpoint will be."""
    command = trainer_command(
        output=folder,
        steps=pace.steps,
        save_steps=pace.save_steps,
        step_seconds=0,
        save_seconds=0,
        checkpoint_mib=pace.checkpoint_mib,
    )
    return command, lambda: folder / f"checkpoint-{pace.steps}"
