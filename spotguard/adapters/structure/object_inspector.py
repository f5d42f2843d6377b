"""The structure checks of files, on objects: ranged reads of heads and tails."""

from __future__ import annotations

import asyncio
import os

from spotguard.adapters.structure.file_structure import finding_in
from spotguard.core.structure import Finding, Structure
from spotguard.ports.part_transfer import PartTransfer, Slice

_WINDOW_BYTES = 128 << 10
"""One request brings at least this much: a zip's end record is looked for in its last 64 KiB."""


class RangedObjectInspector:
    def __init__(self, transfer: PartTransfer) -> None:
        self._transfer = transfer

    async def look(self, key: str, *, size: int, etag: str, structure: Structure) -> Finding:
        content = _ObjectContent(self._transfer, key, size, etag, asyncio.get_running_loop())
        try:
            return await asyncio.to_thread(finding_in, content, structure)
        finally:
            content.close()


class _ObjectContent:
    """An object's bytes for code that reads files. `read` is for a thread other than the loop's; what was fetched is kept."""

    def __init__(self, transfer: PartTransfer, key: str, size: int, etag: str, loop: asyncio.AbstractEventLoop) -> None:
        self.size = size
        self._transfer = transfer
        self._key, self._etag = key, etag
        self._loop = loop
        self._fd = os.memfd_create("spotguard-look")
        self._fetched: list[tuple[int, int]] = []

    def read(self, count: int, offset: int) -> bytes:
        end = min(offset + count, self.size)
        if end <= offset:
            return b""
        if not any(first <= offset and end <= last for first, last in self._fetched):
            last = min(max(end, offset + _WINDOW_BYTES), self.size)
            wanted = Slice(self._fd, offset, last - offset)
            asyncio.run_coroutine_threadsafe(self._fetch(wanted), self._loop).result()
            self._fetched.append((offset, last))
        return os.pread(self._fd, end - offset, offset)

    async def _fetch(self, wanted: Slice) -> None:
        await self._transfer.fetch(self._key, wanted, etag=self._etag)

    def close(self) -> None:
        os.close(self._fd)
