"""The whole story on one machine: training, a notice, the drain, the machine gone, a new one that goes on from the very step.

Everything is real but the cloud: the daemon and `resume` are the ones that users run, the trainer knows nothing of them. Each scene
ends when the daemon or the trainer says that it happened; nothing is assumed from time having passed.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, TypeVar

from spotguard.demo import checkpoint_files
from spotguard.demo.daemon_process import DaemonProcess
from spotguard.demo.drain_watch import DrainWatch
from spotguard.demo.summary import Phase, PromiseBroken, Saved, Summary
from spotguard.demo.training_process import TrainingProcess
from spotguard.demo.world import Cloud, Machine, Pace, train_uninterrupted

T = TypeVar("T")
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 30.0


class Narrator(Protocol):
    """Who tells the story to the person at the terminal."""

    def scene(self, title: str) -> None: ...

    def tell(self, text: str) -> None: ...


def wait_for(what: str, look: Callable[[], T | None], *, timeout: float = _PATIENCE_SECONDS) -> T:
    """Look again and again until there is something. Raises PromiseBroken when there is nothing in time."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if (found := look()) is not None:
            return found
        time.sleep(_POLL_SECONDS)
    raise PromiseBroken(f"waited {timeout:.0f} s in vain: {what}")


class Story:
    """One telling. `scope` gets what must be ended when the story ends, however it ends."""

    def __init__(self, folder: Path, *, cloud: Cloud, pace: Pace, narrator: Narrator, scope: ExitStack) -> None:
        self._folder = folder
        self._cloud = cloud
        self._pace = pace
        self._narrator = narrator
        self._scope = scope
        self.summary = Summary(notice_seconds=pace.notice_seconds)

    def play(self) -> Summary:
        """Raises PromiseBroken, DaemonTrouble."""
        reference = self._reference()
        first = self._machine("machine-a")
        daemon, training = self._train_until_saved(first)
        self._interrupt(daemon, training)
        self._lose(first, daemon, training)
        second = self._machine("machine-b")
        self._resume(second)
        self._compare(second, reference)
        self.summary.check()
        return self.summary

    def _machine(self, name: str) -> Machine:
        return Machine(self._folder / name, logs=self._folder, cloud=self._cloud, pace=self._pace, scope=self._scope)

    def _reference(self) -> dict[str, str]:
        command, last = train_uninterrupted(self._folder / "uninterrupted", self._pace)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=_PATIENCE_SECONDS)
        return checkpoint_files.fingerprint(last())

    def _phase(self, name: str, since: float) -> float:
        now = time.monotonic()
        self.summary.phases.append(Phase(name, round(now - since, 3)))
        return now

    def _train_until_saved(self, machine: Machine) -> tuple[DaemonProcess, TrainingProcess]:
        pace, say = self._pace, self._narrator.tell
        self._narrator.scene(f"Machine A trains; spotguard copies each checkpoint to {self._cloud.wishes.destination}")
        since = time.monotonic()
        daemon = machine.start_daemon()
        say(f"daemon ready; look at it from another terminal:  curl -s {daemon.url}/status")
        since = self._phase("daemon started and ready", since)
        training = machine.start_training()
        say(f"trainer started: {pace.steps} steps, a checkpoint after every {pace.save_steps}, the newest 2 kept on disk")
        seen: set[str] = set()
        while len(seen) < 2:
            for name in wait_for("a committed checkpoint", lambda: _new_commits(daemon, seen)):
                seen.add(name)
                say(f"{name} is committed: whole, checksums verified, visible to a restore")
        aim = len(seen) * pace.save_steps + 3  # well before the next regular save, so that only the signal can save what is at risk
        wait_for(f"step {aim}", lambda: training.last_step() >= aim or None)
        self._phase("training until the notice", since)
        return daemon, training

    def _interrupt(self, daemon: DaemonProcess, training: TrainingProcess) -> None:
        pace = self._pace
        self._narrator.scene(f"AWS wants machine A back in {pace.notice_seconds:.0f} s, in the middle of step {training.last_step() + 1}")
        since = time.monotonic()
        self._cloud.metadata.interrupt(pace.notice_seconds)
        watch = DrainWatch(daemon, training, tell=self._narrator.tell, started=since)
        final = wait_for("the daemon's verdict", watch.look, timeout=pace.notice_seconds + 5)
        self.summary.phases += watch.phases()
        self.summary.seconds_left_at_verdict = round(pace.notice_seconds - pace.margin_seconds - watch.verdict_after, 3)
        self.summary.saved = [Saved(entry["name"], entry["state"], entry["bytes"]) for entry in final["checkpoints"]]
        if final["state"] != "safe":
            raise PromiseBroken(f"the verdict is {final['state']}: {final['interruption']}; the daemon's last lines:\n{daemon.log_tail()}")
        stopped = wait_for("the trainer's end", lambda: training.told("stopped") or None)
        self.summary.stopped_at_step = int(stopped[-1]["step"])
        left = self.summary.seconds_left_at_verdict
        self._narrator.tell(f"verdict: safe to die, {left:.1f} s before the deadline; the last commit is {_last_commit(final)}")

    def _lose(self, machine: Machine, daemon: DaemonProcess, training: TrainingProcess) -> None:
        self._narrator.scene("Machine A is gone")
        machine.vanish(daemon, training)
        self._narrator.tell("daemon killed with SIGKILL, its folder with all checkpoints deleted; only the bucket is left")
        self._cloud.metadata.withdraw()

    def _resume(self, machine: Machine) -> None:
        self._narrator.scene("Machine B starts with an empty folder")
        since = time.monotonic()
        daemon = machine.start_daemon()
        since = self._phase("new daemon ready", since)
        training = machine.resume_training()
        started = wait_for("the resumed trainer", lambda: _started(training))
        since = self._phase("restored and training again", since)
        line = next((line.strip() for line in training.lines() if line.startswith(("resuming", "starting"))), "")
        self._narrator.tell(f"spotguard resume says: {line}")
        self.summary.resumed_from = started["resumed_from"] or ""
        self.summary.resumed_at_step = int(started["step"])
        finished = wait_for("the end of the training", lambda: _finished(training))
        self._phase("training to its end", since)
        self.summary.finished_at_step = int(finished["step"])
        self._narrator.tell(f"went on with step {training.told('step')[0]['step']} and finished step {finished['step']}")
        last = f"checkpoint-{self._pace.steps}"
        wait_for(f"the commit of {last}", lambda: last in _committed(daemon) or None)
        if (code := daemon.stop()) != 0:
            raise PromiseBroken(f"the second daemon ended with status {code}:\n{daemon.log_tail()}")
        self._narrator.tell(f"{last} is committed too; the daemon stopped with status 0: nothing is left to save")

    def _compare(self, machine: Machine, reference: dict[str, str]) -> None:
        ended = checkpoint_files.fingerprint(machine.output / f"checkpoint-{self._pace.steps}")
        self.summary.identical_to_uninterrupted = ended == reference
        if ended == reference:
            self._narrator.tell(f"all {len(ended)} files of the last checkpoint equal, byte for byte, those of a run without interruption")


def _committed(daemon: DaemonProcess) -> list[str]:
    return [entry["name"] for entry in daemon.status()["checkpoints"] if entry["state"] == "committed"]


def _new_commits(daemon: DaemonProcess, seen: set[str]) -> list[str] | None:
    return [name for name in _committed(daemon) if name not in seen] or None


def _last_commit(status: dict[str, Any]) -> str:
    return str(status["interruption"]["last_committed"])


def _started(training: TrainingProcess) -> dict[str, Any] | None:
    return _expect(training, "started")


def _finished(training: TrainingProcess) -> dict[str, Any] | None:
    return _expect(training, "finished")


def _expect(training: TrainingProcess, event: str) -> dict[str, Any] | None:
    """The event if it was told; raises PromiseBroken when the process ended without it."""
    ended = training.returncode()
    if told := training.told(event):
        return told[-1]
    if ended is not None:
        raise PromiseBroken(f"the trainer ended with status {ended}:\n" + "".join(training.lines()[-15:]))
    return None
