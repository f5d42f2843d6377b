"""A trainer for the tests of `spotguard run`: saves as the Hugging Face Trainer lays files out, and tells on standard output what it does.

`trainer.py OUT [--steps N] [--every N] [--step-seconds S] [--on-signal save|ignore] [--then exit:N|kill|hang]`
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path


def tell(**fields: object) -> None:
    os.write(1, json.dumps(fields).encode() + b"\n")  # at once: a signal's handler tells in the middle of it, another process beside it


def save(folder: Path, step: int, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes([step % 251]) * size)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    tell(saved=step)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--every", type=int, default=2)
    parser.add_argument("--size", type=int, default=3000)
    parser.add_argument("--step-seconds", type=float, default=0.05)
    parser.add_argument("--on-signal", choices=["save", "ignore", "default"], default="save")
    parser.add_argument("--then", default="exit:0")
    options = parser.parse_args()
    received: list[str] = []

    def note(number: int, frame: object) -> None:
        received.append(signal.Signals(number).name)
        tell(signal=received[-1])

    if options.on_signal != "default":
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, note)
    tell(pid=os.getpid(), parent=os.getppid(), resumed=os.environ.get("SPOTGUARD_CHECKPOINT"), start=options.start)
    step = options.start
    while step < options.steps:
        step += 1
        time.sleep(options.step_seconds)
        if step % options.every == 0:
            save(options.output / f"checkpoint-{step}", step, options.size)
        if received and options.on_signal == "save":
            time.sleep(0.1)
            save(options.output / f"checkpoint-{step}", step, options.size)
            tell(stopped=step)
            return
    word, _, argument = options.then.partition(":")
    if word == "kill":
        os.kill(os.getpid(), int(argument))
        time.sleep(10)
    while word == "hang":
        time.sleep(0.1)
    sys.exit(int(argument))


if __name__ == "__main__":
    main()
