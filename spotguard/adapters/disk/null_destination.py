"""Takes bytes that are only looked at."""

from __future__ import annotations

import os
from collections.abc import Sequence

from spotguard.adapters.disk.paths import close_each, open_each


class NullDestination:
    async def open(self, path: str) -> int:
        """A descriptor that forgets what is written to it."""
        return os.open(os.devnull, os.O_WRONLY)

    async def open_all(self, paths: Sequence[str]) -> Sequence[int]:
        return open_each([os.devnull] * len(paths), os.O_WRONLY)

    async def close(self, path: str, fd: int, *, durable: bool) -> None:
        os.close(fd)

    async def close_all(self, files: Sequence[tuple[str, int]], *, durable: bool) -> None:
        close_each(fd for _, fd in files)
