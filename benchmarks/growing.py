"""What sending a file while it grows would gain: a checkpoint of one file of 4 GiB, written at 500 MB/s to a link of 500 MB/s."""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path

from benchmarks import datasets
from benchmarks.endpoint import serving
from benchmarks.guarding import guarding
from benchmarks.transfer import Record, Workshop
from spotguard.adapters.holding import checksum_of

_SIZE = 4 << 30
_RATE = 500e6
_FILE = "model.safetensors"


def growing(shop: Workshop, record: Record) -> None:
    """Now: the file goes up when it is closed. If its parts went as they were written, what would be left at the last byte is to read the
    file again and compare its checksum with what was sent, here from the page cache."""
    for _ in range(min(shop.rounds, 3)):
        with serving(shop.sink) as endpoint, guarding(endpoint, shop.scratch / "watched", "upload.max_megabits_per_second=4000") as daemon:
            folder = daemon.watched / "checkpoint-100"
            datasets.tiny(shop.scratch / "staged", 100)
            (shop.scratch / "staged" / datasets.MARKER).unlink()
            folder.mkdir()
            _write_slowly(folder / _FILE)
            for path in (shop.scratch / "staged").iterdir():
                if path.name != _FILE:
                    path.rename(folder / path.name)
            now = daemon.commits("checkpoint-100", partial(datasets.mark, folder, 100))
        began = time.monotonic()
        with (folder / _FILE).open("rb") as file:
            checksum_of(file.fileno())
        record("spotguard", {"to_commit_seconds": now, "check_seconds": time.monotonic() - began})
        shutil.rmtree(shop.scratch / "watched")
        shutil.rmtree(shop.scratch / "staged")


def _write_slowly(path: Path) -> None:
    began, written = time.monotonic(), 0
    with path.open("wb") as file:
        for block in datasets.safetensors(_SIZE):
            file.write(block)
            written += len(block)
            time.sleep(max(0.0, began + written / _RATE - time.monotonic()))
