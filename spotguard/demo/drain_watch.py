"""Follows one drain through `/status` and the trainer's own words, telling each thing when it is first seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from spotguard.demo.daemon_process import DaemonProcess
from spotguard.demo.summary import Phase
from spotguard.demo.training_process import TrainingProcess


class DrainWatch:
    """Times are seconds since the notice was put into the metadata service, exact to the watch's own polls."""

    def __init__(self, daemon: DaemonProcess, training: TrainingProcess, *, tell: Callable[[str], None], started: float) -> None:
        self._daemon = daemon
        self._training = training
        self._tell = tell
        self._started = started
        self._marks: dict[str, float] = {}
        self._states: dict[str, str] = {}

    @property
    def verdict_after(self) -> float:
        return self._marks["verdict"]

    def look(self) -> dict[str, Any] | None:
        """Once around; returns the status that holds the verdict after the trainer's end, None before."""
        stopped = self._training.told("stopped")
        status = self._daemon.status()
        interruption, signalled = status["interruption"], status["trainer"]["signalled_at"]
        if interruption is not None:
            self._mark(
                "seen", f"the daemon saw the notice ({interruption['kind']}); all must be done by {_time_of_day(interruption['deadline'])}"
            )
        if signalled:
            self._mark("signalled", "the trainer was sent SIGUSR1")
        self._tell_checkpoints(status)
        if stopped:
            text = f"the trainer finished step {stopped[-1]['step']}, saved it and stopped"
            self._mark("stopped", text)
            if self._states.get(f"checkpoint-{stopped[-1]['step']}") == "committed":
                self._mark("committed", "")
        if not stopped or interruption is None or status["state"] not in ("safe", "unsafe"):
            return None
        self._mark("verdict", "")
        return status

    def phases(self) -> list[Phase]:
        """From what was seen; a thing that was not seen has no phase."""
        spans = [
            ("notice given → seen by the daemon", None, "seen"),
            ("seen → trainer signalled", "seen", "signalled"),
            ("signalled → final checkpoint on disk", "signalled", "stopped"),
            ("on disk → committed", "stopped", "committed"),
            ("notice given → safe to die", None, "verdict"),
        ]
        return [
            Phase(name, round(self._marks[end] - (self._marks[start] if start else 0.0), 3))
            for name, start, end in spans
            if end in self._marks and (start is None or start in self._marks)
        ]

    def _mark(self, what: str, text: str) -> None:
        if what in self._marks:
            return
        self._marks[what] = time.monotonic() - self._started
        if text:
            self._tell(f"{self._marks[what]:5.1f} s  {text}")

    def _tell_checkpoints(self, status: dict[str, Any]) -> None:
        for entry in status["checkpoints"]:
            name, state = entry["name"], entry["state"]
            if self._states.get(name) != state:
                known = name in self._states or state != "committed"
                self._states[name] = state
                if known:
                    self._tell(f"{time.monotonic() - self._started:5.1f} s  {name}: {state}")


def _time_of_day(moment: str) -> str:
    return datetime.fromisoformat(moment).strftime("%H:%M:%S UTC")
