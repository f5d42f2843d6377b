"""The demo trainer's checkpoints: the names, the formats and the order of writing of the Hugging Face Trainer.

The folder is filled in place, `model.safetensors` comes by rename, `trainer_state.json` is last, nothing is fsynced. The contents
are the standard library's: a real safetensors file, and zip archives where torch writes zip archives.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
import time
import zipfile
from array import array
from pathlib import Path
from typing import Any

from spotguard.demo.model import TrainingState

MARKER = "trainer_state.json"
_BALLAST = "embedding.weight"


class DamagedCheckpoint(Exception):
    """A checkpoint whose files do not belong together. `str()` says which."""


def save(output: Path, state: TrainingState, *, ballast_bytes: int, save_seconds: float = 0.0) -> Path:
    """Write `output/checkpoint-STEP` as the Hugging Face Trainer does, taking about `save_seconds`; returns the folder."""
    folder = output / f"checkpoint-{state.step}"
    folder.mkdir(parents=True, exist_ok=True)
    pause = save_seconds / 6
    (folder / "config.json").write_text(json.dumps({"architectures": ["Line"], "model_type": "line", "weights": len(state.weights)}))
    time.sleep(pause)
    _write_model(folder, state, ballast_bytes)
    time.sleep(pause)
    _write_archive(folder / "optimizer.pt", {"momentum": array("d", state.momentum).tobytes()})
    time.sleep(pause)
    _write_archive(folder / "scheduler.pt", {"last_epoch": str(state.step).encode()})
    time.sleep(pause)
    _write_archive(folder / "rng_state.pth", {"python": json.dumps(state.generator.getstate()).encode()})
    time.sleep(pause)
    history = [{"step": number, "loss": loss} for number, loss in enumerate(state.losses, start=1)]
    (folder / MARKER).write_text(json.dumps({"global_step": state.step, "log_history": history}, indent=1))
    return folder


def rotate(output: Path, *, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints, as `save_total_limit` does."""
    folders = sorted(output.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))
    for folder in folders[:-keep]:
        shutil.rmtree(folder)


def load(folder: Path) -> TrainingState:
    """The state that `save` wrote. Raises DamagedCheckpoint if one of the files belongs to another step, OSError if one is missing."""
    told = json.loads((folder / MARKER).read_text())
    step = int(told["global_step"])
    weights = _read_model(folder)
    if int(_read_archive(folder / "scheduler.pt", "last_epoch")) != step:
        raise DamagedCheckpoint(f"{folder}: scheduler.pt is of another step than {MARKER}")
    momentum = array("d", _read_archive(folder / "optimizer.pt", "momentum"))
    version, internal, gauss = json.loads(_read_archive(folder / "rng_state.pth", "python"))
    generator = random.Random()
    generator.setstate((version, tuple(internal), gauss))
    return TrainingState(step, weights, momentum.tolist(), generator, [float(entry["loss"]) for entry in told["log_history"]])


def fingerprint(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a checkpoint."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def _ballast(weights: bytes, size: int) -> bytes:
    """Bytes that depend on every bit of the weights: they give the file its size, and a torn mixture away."""
    return hashlib.shake_256(weights).digest(size)


def _write_model(folder: Path, state: TrainingState, ballast_bytes: int) -> None:
    weights = array("d", state.weights).tobytes()
    header: dict[str, Any] = {
        "__metadata__": {"format": "pt"},
        "line.weight": {"dtype": "F64", "shape": [len(state.weights)], "data_offsets": [0, len(weights)]},
        _BALLAST: {"dtype": "U8", "shape": [ballast_bytes], "data_offsets": [len(weights), len(weights) + ballast_bytes]},
    }
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    temporary = folder / f".tmp{os.getpid()}"
    temporary.write_bytes(struct.pack("<Q", len(encoded)) + encoded + weights + _ballast(weights, ballast_bytes))
    temporary.rename(folder / "model.safetensors")


def _read_model(folder: Path) -> list[float]:
    content = (folder / "model.safetensors").read_bytes()
    (header_size,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + header_size])
    body = content[8 + header_size :]
    start, end = header["line.weight"]["data_offsets"]
    ballast_start, ballast_end = header[_BALLAST]["data_offsets"]
    weights = body[start:end]
    if body[ballast_start:] != _ballast(weights, ballast_end - ballast_start):
        raise DamagedCheckpoint(f"{folder}: model.safetensors holds bytes of two different steps")
    return array("d", weights).tolist()


def _write_archive(path: Path, records: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in records.items():
            # A fixed time, so that equal states give equal bytes.
            archive.writestr(zipfile.ZipInfo(f"archive/{name}", (1980, 1, 1, 0, 0, 0)), content)


def _read_archive(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"archive/{name}")
