"""The checksums of one open file, slice by slice: each is read at most once, however often it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from spotguard.core.part_cut import cut_by
from spotguard.ports.checkpoint_volume import CheckpointVolume, HeldFile

Combine = Callable[[Sequence[tuple[int, int]]], int]
"""`PartTransfer.combine`."""
_AT_ONCE = 2


class ContentSums:
    """Of the content that the file had when it was opened; whether it still has is for the caller to ask (`held.unchanged`)."""

    def __init__(self, volume: CheckpointVolume, held: HeldFile, combine: Combine, known: dict[tuple[int, int], int]) -> None:
        """`known`: by offset and size, what was summed of this content before; what is summed now is added."""
        self._volume = volume
        self._held = held
        self._combine = combine
        self._known = known

    async def of(self, offset: int, size: int) -> int:
        """The CRC64NVME of these bytes. Raises OSError."""
        if (offset, size) not in self._known:
            self._known[offset, size] = await self._volume.checksum(self._held, offset, size)
        return self._known[offset, size]

    async def whole(self, step: int) -> int:
        """The CRC64NVME of the whole file, read in parts of `step` bytes whose sums are then known too. Raises OSError."""
        size = self._held.stat.size
        parts = list(cut_by(size, step))
        limit = asyncio.Semaphore(_AT_ONCE)

        async def sum_of(offset: int, length: int) -> int:
            async with limit:
                return await self.of(offset, length)

        sums = await asyncio.gather(*(sum_of(part.offset, part.size) for part in parts))
        return self._combine([(crc, part.size) for crc, part in zip(sums, parts, strict=True)])
