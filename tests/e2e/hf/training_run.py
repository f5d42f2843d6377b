"""One real training run as the tests see it: how it is started, what it tells, how it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from spotguard.demo.training_process import TrainingProcess
from tests.support.daemon_process import CommandMachine

TRAIN_TINY = Path(__file__).with_name("train_tiny.py")
STEPS = 60

T = TypeVar("T")


class Ending(NamedTuple):
    step: int
    loss: float
    weights: str
    """SHA-256 of all parameters."""


def ending_of(lines: Iterable[str]) -> Ending:
    told = [json.loads(line) for line in lines if line.startswith('{"event": "ended"')]
    assert told, "the training did not come to its end"
    return Ending(told[-1]["step"], told[-1]["loss"], told[-1]["weights"])


def wait_for(what: str, look: Callable[[], T | None], *, timeout: float = 60.0) -> T:
    """Asks again and again, because what is waited for happens in another process."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if (found := look()) is not None:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {timeout:.0f} s in vain for {what}")


def start_training(machine: CommandMachine, hf_python: str, *options: object) -> TrainingProcess:
    words = (hf_python, TRAIN_TINY, "--output", machine.output, "--pid-file", machine.pid_file, "--steps", STEPS, *options)
    return machine.start(*map(str, words), output="train.log")
