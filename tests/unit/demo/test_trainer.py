"""The demo's trainer keeps what it promises, else the demo would prove nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from spotguard.demo import checkpoint_files
from spotguard.demo.checkpoint_files import DamagedCheckpoint
from spotguard.demo.model import TrainingState
from spotguard.demo.training_process import TrainingProcess, trainer_command

BALLAST = 50_000
QUICK = {"steps": 20, "save_steps": 8, "step_seconds": 0, "save_seconds": 0, "checkpoint_mib": 0.05}


def run(output: Path, **options: Any) -> None:
    subprocess.run(trainer_command(output=output, **{**QUICK, **options}), check=True, stdout=subprocess.DEVNULL, timeout=30)


def saved_at(folder: Path, step: int) -> Path:
    state = TrainingState()
    while state.step < step:
        state.advance()
    return checkpoint_files.save(folder, state, ballast_bytes=BALLAST)


def test_a_run_that_goes_on_from_a_checkpoint_ends_with_the_bytes_of_one_that_was_never_interrupted(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    run(tmp_path / "halved", steps=11)
    run(tmp_path / "halved", resume=tmp_path / "halved" / "checkpoint-11")
    whole = checkpoint_files.fingerprint(tmp_path / "whole" / "checkpoint-20")
    assert checkpoint_files.fingerprint(tmp_path / "halved" / "checkpoint-20") == whole


def test_a_run_that_goes_on_from_another_step_ends_with_other_bytes(tmp_path: Path) -> None:
    early, late = (checkpoint_files.load(saved_at(tmp_path / "out", step)) for step in (5, 6))
    for state in (early, late):
        for _ in range(10):
            state.advance()
    assert early.weights != late.weights


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_at_a_signal_it_saves_at_the_next_step_boundary_and_stops(tmp_path: Path, number: signal.Signals) -> None:
    pid_file = tmp_path / "trainer.pid"
    command = trainer_command(output=tmp_path / "out", pid_file=pid_file, steps=100_000, save_steps=100_000, step_seconds=0.01)
    training = TrainingProcess(command, output=tmp_path / "log", environment=os.environ)
    try:
        while training.last_step() < 2:
            os.sched_yield()
        os.kill(int(pid_file.read_text()), number)
        assert training.wait(20) == 0
    finally:
        training.kill()
    stopped = training.told("stopped")[-1]
    assert stopped == {"event": "stopped", "step": training.last_step(), "signal": number.name}
    assert checkpoint_files.load(tmp_path / "out" / f"checkpoint-{stopped['step']}").step == stopped["step"]


def test_the_files_are_what_their_names_say(tmp_path: Path) -> None:
    folder = saved_at(tmp_path, 3)
    model = (folder / "model.safetensors").read_bytes()
    (header_size,) = struct.unpack_from("<Q", model)
    ends = [entry["data_offsets"][1] for name, entry in json.loads(model[8 : 8 + header_size]).items() if name != "__metadata__"]
    assert len(model) == 8 + header_size + max(ends)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        assert zipfile.is_zipfile(folder / name)
    assert json.loads((folder / "trainer_state.json").read_text())["global_step"] == 3


def test_the_marker_is_written_last(tmp_path: Path) -> None:
    folder = saved_at(tmp_path, 3)
    newest = max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert newest.name == checkpoint_files.MARKER


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"])
def test_a_file_of_another_step_does_not_go_unnoticed(tmp_path: Path, name: str) -> None:
    """Either loading says so, or the run ends with other weights."""
    folder, other = saved_at(tmp_path / "a", 6), saved_at(tmp_path / "b", 7)
    expected = checkpoint_files.load(folder)
    shutil.copy(other / name, folder / name)
    try:
        mixed = checkpoint_files.load(folder)
    except DamagedCheckpoint:
        return
    for state in (expected, mixed):
        for _ in range(3):
            state.advance()
    assert mixed.weights != expected.weights


def test_bytes_of_two_steps_in_one_file_are_noticed(tmp_path: Path) -> None:
    folder, other = saved_at(tmp_path / "a", 6), saved_at(tmp_path / "b", 7)
    halves = [(folder / "model.safetensors").read_bytes(), (other / "model.safetensors").read_bytes()]
    (folder / "model.safetensors").write_bytes(halves[0][: BALLAST // 2] + halves[1][BALLAST // 2 :])
    with pytest.raises(DamagedCheckpoint, match="two different steps"):
        checkpoint_files.load(folder)


def test_rotation_keeps_the_newest_by_number(tmp_path: Path) -> None:
    for step in (9, 10, 11):
        saved_at(tmp_path, step)
    checkpoint_files.rotate(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-11"]
