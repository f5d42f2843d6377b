"""A small trainer with the manners of a real one: `python -m spotguard.demo.trainer --output DIR --steps N [--resume CHECKPOINT]`.

It knows nothing of spotguard. On SIGUSR1 or SIGTERM it saves at the next step boundary and stops, on SIGUSR2 it saves there and goes on;
it tells what it does as JSON lines on standard output. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from spotguard.demo import checkpoint_files
from spotguard.demo.model import TrainingState


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m spotguard.demo.trainer", description="A small trainer for trying spotguard.")
    parser.add_argument("--output", type=Path, required=True, help="where checkpoint-N folders go")
    parser.add_argument("--steps", type=int, default=60, help="train up to this step")
    parser.add_argument("--save-steps", type=int, default=10, help="save after every so many steps")
    parser.add_argument("--save-total-limit", type=int, default=2, help="keep so many checkpoints")
    parser.add_argument("--step-seconds", type=float, default=0.1, help="how long a step takes")
    parser.add_argument("--save-seconds", type=float, default=0.3, help="how long a save takes")
    parser.add_argument("--checkpoint-mib", type=float, default=6.0, help="about how large a checkpoint is")
    parser.add_argument("--resume", type=Path, default=None, help="a checkpoint folder to go on from")
    parser.add_argument("--pid-file", type=Path, default=None, help="write the process id here")
    return parser.parse_args(argv)


def _tell(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def _write_pid_file(path: Path) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(f"{os.getpid()}\n")
    temporary.rename(path)


@dataclass
class Received:
    """The names of the signals that came: those after which it stops, and those after which it goes on once it has saved."""

    to_stop: list[str] = field(default_factory=list)
    to_save: list[str] = field(default_factory=list)


def _listen_to_signals() -> Received:
    received = Received()

    def note(number: int, _frame: FrameType | None) -> None:
        (received.to_save if number == signal.SIGUSR2 else received.to_stop).append(signal.Signals(number).name)

    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, note)
    return received


def _save(options: argparse.Namespace, state: TrainingState) -> None:
    folder = checkpoint_files.save(
        options.output, state, ballast_bytes=int(options.checkpoint_mib * 1024 * 1024), save_seconds=options.save_seconds
    )
    _tell("saved", step=state.step, checkpoint=folder.name)
    checkpoint_files.rotate(options.output, keep=options.save_total_limit)


def _train(options: argparse.Namespace, state: TrainingState, received: Received) -> None:
    while state.step < options.steps and not received.to_stop:
        time.sleep(options.step_seconds)
        loss = state.advance()
        _tell("step", step=state.step, loss=loss)
        if received.to_save or state.step % options.save_steps == 0 or state.step == options.steps:
            received.to_save.clear()
            _save(options, state)


def main(argv: Sequence[str] | None = None) -> int:
    received = _listen_to_signals()  # before the pid file: who finds it may signal at once
    options = _arguments(argv)
    if options.pid_file:
        _write_pid_file(options.pid_file)
    options.output.mkdir(parents=True, exist_ok=True)
    state = checkpoint_files.load(options.resume) if options.resume else TrainingState()
    _tell("started", step=state.step, resumed_from=options.resume.name if options.resume else None)
    _train(options, state, received)
    if state.step < options.steps:
        if not (options.output / f"checkpoint-{state.step}" / checkpoint_files.MARKER).exists():
            _save(options, state)
        _tell("stopped", step=state.step, signal=received.to_stop[0])
    else:
        _tell("finished", step=state.step, loss=state.losses[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
