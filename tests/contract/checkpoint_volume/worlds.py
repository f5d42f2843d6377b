"""A watch root to write into as a trainer does, on a disk and in memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Protocol

from spotguard.adapters.disk.volume import LocalVolume
from tests.support.memory_volume import MemoryVolume


class World(Protocol):
    volume: Any

    def write(self, path: str, content: bytes) -> None: ...
    def write_over(self, path: str, content: bytes) -> None: ...
    def replace(self, path: str, content: bytes) -> None: ...
    def mkdir(self, path: str) -> None: ...
    def link(self, path: str, target: str) -> None: ...
    def delete(self, path: str) -> None: ...
    def rename(self, old: str, new: str) -> None: ...
    def close(self) -> None: ...


class DiskWorld:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.volume = LocalVolume(root)

    def write(self, path: str, content: bytes) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(content)

    def write_over(self, path: str, content: bytes) -> None:
        before = (self.root / path).stat().st_mtime_ns
        (self.root / path).write_bytes(content)
        os.utime(self.root / path, ns=(before + 10**9, before + 10**9))  # the filesystem's clock ticks slower than we write

    def replace(self, path: str, content: bytes) -> None:
        self.write(f"{path}.tmp", content)
        os.replace(self.root / f"{path}.tmp", self.root / path)

    def mkdir(self, path: str) -> None:
        (self.root / path).mkdir(parents=True)

    def link(self, path: str, target: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).symlink_to(target)

    def delete(self, path: str) -> None:
        if (self.root / path).is_dir() and not (self.root / path).is_symlink():
            shutil.rmtree(self.root / path)
        else:
            (self.root / path).unlink()

    def rename(self, old: str, new: str) -> None:
        (self.root / old).rename(self.root / new)

    def close(self) -> None:
        self.volume.close()


class MemoryWorld:
    def __init__(self) -> None:
        self.volume = MemoryVolume()
        self.mkdir = self.volume.mkdir
        self.link = self.volume.link
        self.delete = self.volume.delete
        self.rename = self.volume.rename
        self.close = self.volume.close

    def write(self, path: str, content: bytes) -> None:
        self.volume.write(path, content)

    def write_over(self, path: str, content: bytes) -> None:
        self.volume.write(path, content)

    def replace(self, path: str, content: bytes) -> None:
        self.volume.write(path, content, replace=True)
