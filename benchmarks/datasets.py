"""The files that are moved: checkpoints as the Hugging Face Trainer leaves them, none of them sparse."""

from __future__ import annotations

import itertools
import json
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

MIB = 1 << 20
_BLOCK = os.urandom(16 * MIB)
_serial = itertools.count()
SHARD_BYTES = 4 * MIB
MARKER = "trainer_state.json"


def mixed(folder: Path, step: int) -> None:
    """1 GiB, 4 of 200 MiB and 20 of 20 kB: a model, its optimizer's shards and what lies beside them."""
    _safetensors(folder / "model.safetensors", 1 << 30)
    _torch_zip(folder / "optimizer.pt", 200 * MIB)
    for number in range(3):
        write(folder / f"shard-{number}.dat", 200 * MIB)
    _torch_zip(folder / "scheduler.pt", 20_000)
    for number in range(18):
        write(folder / f"small-{number:02}.dat", 20_000)
    mark(folder, step, 20_000)


def many(folder: Path, step: int, files: int = 10_000, size: int = 100_000) -> None:
    """Many small files in one checkpoint."""
    _safetensors(folder / "model.safetensors", size)
    _torch_zip(folder / "optimizer.pt", size)
    _torch_zip(folder / "scheduler.pt", size)
    for number in range(files - 4):
        write(folder / f"part-{number // 1000:03}" / f"{number:06}.dat", size)
    mark(folder, step, size)


def large(folder: Path, step: int, size: int = 8 << 30) -> None:
    """One file of 8 GiB, and the least that makes it a checkpoint."""
    _safetensors(folder / "model.safetensors", size)
    _least(folder, step)


def shards(folder: Path, step: int) -> None:
    """20 files of the same size, each 5 % of the whole."""
    for number in range(20):
        write(folder / f"shard-{number:02}.dat", SHARD_BYTES)
    _safetensors(folder / "model.safetensors", 20_000)
    _least(folder, step)


def tiny(folder: Path, step: int) -> None:
    """What a daemon is warmed up with."""
    _safetensors(folder / "model.safetensors", 20_000)
    _least(folder, step)


def write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(_content(size))


def mark(folder: Path, step: int, size: int = 1000) -> None:
    """The file that the Trainer writes last."""
    state = json.dumps({"global_step": step, "log_history": []})
    (folder / MARKER).write_text(state[:-1] + ', "padding": "' + "x" * max(0, size - len(state) - 15) + '"}')


def total_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _least(folder: Path, step: int) -> None:
    _torch_zip(folder / "optimizer.pt", 20_000)
    _torch_zip(folder / "scheduler.pt", 20_000)
    mark(folder, step)


def _content(size: int) -> Iterator[bytes | memoryview]:
    """Blocks that differ, so that no two parts and no two files are the same bytes."""
    view, number = memoryview(_BLOCK), next(_serial) << 32
    while size > 0:
        count = min(size, len(_BLOCK))
        yield struct.pack("<Q", number)[:count]
        yield view[8:count]
        size, number = size - count, number + 1


def safetensors(size: int) -> Iterator[bytes | memoryview]:
    """A well-formed file of one tensor, in blocks."""
    body = size - 8 - 128
    header = json.dumps({"weight": {"dtype": "U8", "shape": [body], "data_offsets": [0, body]}}).encode().ljust(128)
    yield struct.pack("<Q", len(header)) + header
    yield from _content(body)


def _safetensors(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(safetensors(size))


def _torch_zip(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive, archive.open("archive/data.pkl", "w", force_zip64=True) as entry:
        for block in _content(size - 300):
            entry.write(block)
