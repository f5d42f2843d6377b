"""What the training scripts of these tests have in common: their options, what they tell, and how their saves are made slow.

Runs in the framework's own environment; needs the standard library and numpy. Nothing of spotguard is in it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_PATIENCE_SECONDS = 90.0
_PAUSED_EVENTS = frozenset({"os.rename", "os.symlink", "os.mkdir"})


class Run:
    """One run of a script. `rank` tells the processes of one run apart; only rank 0 talks."""

    def __init__(self, rank: int = 0) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("--output", type=Path, required=True, help="where the checkpoints go")
        parser.add_argument("--steps", type=int, default=6)
        parser.add_argument("--save-every", type=int, default=2)
        parser.add_argument("--resume", action="store_true", help="go on from what the framework itself takes for the newest")
        parser.add_argument("--variant", default="", help="one of the ways in which the script can save")
        parser.add_argument("--slow", default="", help="NUMBER:SECONDS,…: save number so (from 1) pauses so long before each of its files")
        parser.add_argument("--lockstep", type=Path, default=None, help="after save number N wait for the file N in this folder")
        self.options = parser.parse_args()
        self.output: Path = self.options.output
        self.rank = rank
        self.steps: int = self.options.steps
        self.save_every: int = self.options.save_every
        self.resume: bool = self.options.resume
        self.variant: str = self.options.variant
        pairs = (pair.split(":") for pair in self.options.slow.split(",") if pair)
        self._pauses = {int(number): float(seconds) for number, seconds in pairs}
        self._saves = self._paused = 0
        self.output.mkdir(parents=True, exist_ok=True)
        if self._pauses:
            sys.addaudithook(self._pause_before_files)

    def is_save_step(self, step: int) -> bool:
        return step % self.save_every == 0

    def started(self, step: int, weights: Mapping[str, Any]) -> None:
        self._tell("started", step=step, weights=digest(weights))

    def saved(self, step: int, name: str, weights: Mapping[str, Any], *, members: Iterable[str] = (), beside: Iterable[str] = ()) -> None:
        """Called when the framework has finished its save of `name`, a folder, a file or (with `members`) files.

        `beside`: files that it wrote with it and that may be checkpoints of their own."""
        self._saves += 1
        if self.rank == 0:
            paths = [*members] or [str(path.relative_to(self.output)) for path in (self.output / name).rglob("*") if path.is_file()]
            files = {path: _sha256(self.output / path) for path in paths or [name]}
            others = {path: _sha256(self.output / path) for path in beside}
            self._tell("saved", step=step, name=name, weights=digest(weights), files=files, beside=others, pauses=self._paused)
            self._wait_in_lockstep()
        self._paused = 0

    def ended(self, step: int, weights: Mapping[str, Any]) -> None:
        self._tell("ended", step=step, weights=digest(weights))

    def pause(self) -> None:
        """Wait in the middle of a save, if this one is slow. Other ranks are slower than rank 0."""
        if (seconds := self._pauses.get(self._saves + 1)) is not None:
            self._paused += 1
            time.sleep(seconds * (1 + self.rank))

    def pause_before(self, owner: Any, function: str) -> None:
        """Let each call of a function that writes a file without Python's `open` begin with a pause."""
        original = getattr(owner, function)

        def slow(*arguments: Any, **named: Any) -> Any:
            self.pause()
            return original(*arguments, **named)

        setattr(owner, function, slow)

    def _pause_before_files(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR) and self._is_ours(path):
                self.pause()
        elif event in _PAUSED_EVENTS and any(map(self._is_ours, arguments[:2])):
            self.pause()

    def _is_ours(self, path: Any) -> bool:
        return isinstance(path, (str, os.PathLike)) and os.path.abspath(path).startswith(f"{os.path.abspath(self.output)}{os.sep}")

    def _wait_in_lockstep(self) -> None:
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while self.options.lockstep and not (self.options.lockstep / str(self._saves)).exists():
            if time.monotonic() > give_up:
                raise SystemExit(f"nobody said that save {self._saves} was seen")
            time.sleep(0.01)

    def _tell(self, event: str, **fields: Any) -> None:
        if self.rank == 0:
            print(json.dumps({"event": event, **fields}), flush=True)  # noqa: T201 - a script that talks on standard output


def digest(weights: Mapping[str, Any]) -> str:
    """SHA-256 over the names and bytes of arrays (numpy, or what numpy can read)."""
    import numpy

    told = hashlib.sha256()
    for name, array in sorted(weights.items()):
        told.update(name.encode())
        told.update(numpy.ascontiguousarray(array).tobytes())
    return told.hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
