"""Where fetched files go: into a stage, each made with its space reserved while those before it arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from spotguard.ports.placement import Arrived, Stage

_CHUNK_FILES = 500
_CHUNK_BYTES = 64 << 20


class Arriving(Protocol):
    """A file of a manifest, or of the index of loose files."""

    @property
    def path(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def mode(self) -> int: ...
    @property
    def mtime_ns(self) -> int: ...


class Arrivals:
    """A `Destination`. Inside `async with`, files are being made, the smallest first, in which order they had
    best be fetched: reserving the space of a large one may take as long as
    writing it (seen on tmpfs), and is no reason to let the network wait. On leaving without a failure all have been made.

    Each file that is complete gets its bits and time at once: by that a restore after a kill knows what it need not fetch again."""

    def __init__(self, stage: Stage, files: Sequence[Arriving]) -> None:
        self._stage = stage
        self._files = sorted(files, key=lambda file: file.size)
        self._by_path = {file.path: file for file in files}
        self._made: set[str] = set()
        self._more = asyncio.Event()
        self._making: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._making = asyncio.create_task(self._make())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._making is not None
        if error is not None:
            self._making.cancel()
        await asyncio.wait([self._making])
        if error is None:
            self._making.result()
        elif not self._making.cancelled():
            self._making.exception()  # looked at: what went wrong first is told

    async def open(self, path: str) -> int:
        """Raises NoSpace and PlacementFailed, also those met in making an earlier file."""
        return (await self.open_all((path,)))[0]

    async def open_all(self, paths: Sequence[str]) -> Sequence[int]:
        """The same for many; on raising, or cancelled, none is open."""
        while not self._made.issuperset(paths):
            await self._more.wait()
            if self._making is not None and self._making.done():
                self._making.result()
        return await self._stage.open_all(paths)

    async def close(self, path: str, fd: int, *, durable: bool) -> None:
        if durable:
            await self.close_all([(path, fd)], durable=True)
        else:
            await self._stage.close(path, fd)

    async def close_all(self, files: Sequence[tuple[str, int]], *, durable: bool) -> None:
        if durable:
            await self._stage.finish([self._arrived(path, fd) for path, fd in files])
        else:
            for path, fd in files:
                await self._stage.close(path, fd)

    def _arrived(self, path: str, fd: int) -> Arrived:
        file = self._by_path[path]
        return Arrived(path, fd, file.mode, file.mtime_ns)

    async def _make(self) -> None:
        try:
            for chunk in self._chunks():
                await self._stage.create({file.path: file.size for file in chunk})
                self._made.update(file.path for file in chunk)
                self._more.set()
                self._more = asyncio.Event()
        finally:
            self._more.set()

    def _chunks(self) -> Iterator[list[Arriving]]:
        chunk: list[Arriving] = []
        size = 0
        for file in self._files:
            if chunk and (len(chunk) == _CHUNK_FILES or size + file.size > _CHUNK_BYTES):
                yield chunk
                chunk, size = [], 0
            chunk.append(file)
            size += file.size
        if chunk:
            yield chunk
