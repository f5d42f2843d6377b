"""Takes bytes that are only looked at."""

from __future__ import annotations

import os
from collections.abc import Sequence


class NullDestination:
    async def open(self, path: str) -> int:
        """A descriptor that forgets what is written to it."""
        return os.open(os.devnull, os.O_WRONLY)

    async def open_all(self, paths: Sequence[str]) -> Sequence[int]:
        opened: list[int] = []
        try:
            for path in paths:
                opened.append(await self.open(path))
        except BaseException:
            for fd in opened:
                os.close(fd)
            raise
        return opened

    async def close(self, path: str, fd: int, *, durable: bool) -> None:
        os.close(fd)

    async def close_all(self, files: Sequence[tuple[str, int]], *, durable: bool) -> None:
        for _, fd in files:
            os.close(fd)
