"""A multipart upload that has been opened and not ended, and what is known of its parts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from spotguard.core.checkpoint import FileStat
from spotguard.core.streaming import outgrows
from spotguard.ports.part_transfer import SentPart, Upload

_HOPELESS = 3


@dataclass(slots=True)
class BegunUpload:
    """Not frozen, because its parts come one by one."""

    upload: Upload
    step: int
    """Bytes per part."""
    of: FileStat | None = None
    """The content that it is of; None while its file is still being written."""
    size: int = 0
    """Of that content."""
    parts: dict[int, SentPart] = field(default_factory=dict)
    """Those that have the bytes of that content."""
    unproven: dict[int, SentPart] = field(default_factory=dict)
    """Those that had the file's bytes when they were sent: whether the content has them must be seen."""
    flying: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    """Those that are being sent ahead. They come to be unproven, or nothing."""
    taken_over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the file is whole and is sent as it is: nothing more is sent ahead."""
    wrong: int = 0
    """How many parts proved to be of other content, with none of this."""

    def is_of(self, stat: FileStat, size: int) -> bool:
        return self.of == stat and self.size == size

    def take_over(self, stat: FileStat, size: int) -> bool:
        """From now on it is of this content, which has to prove what was sent before. False where the file cannot be cut so."""
        if outgrows(size, self.step) or size <= self.step:
            return False
        self.unproven.update(self.parts)
        self.parts.clear()
        last = -(-size // self.step)
        for number in [number for number in self.unproven if number > last]:
            del self.unproven[number]
        self.of, self.size, self.wrong = stat, size, 0
        self.taken_over.set()
        return True

    async def landed(self, number: int) -> SentPart | None:
        """What was sent ahead as this part, once it is there; None when nothing was, or it failed. Cancelled: it flies on."""
        if (task := self.flying.get(number)) is not None:
            await asyncio.wait({task})
        return self.unproven.get(number)

    def settle(self, number: int, *, proven: bool) -> None:
        """Whether the content has the bytes of this part. After some wrong ones and no right one the others are not looked at."""
        part = self.unproven.pop(number, None)
        if proven and part is not None:
            self.parts[number] = part
        elif not self.parts:
            self.wrong += 1
            if self.wrong >= _HOPELESS:
                self.unproven.clear()

    async def all_landed(self) -> None:
        """Wait until nothing is being sent ahead. Cancelled: it flies on."""
        while under_way := [task for task in self.flying.values() if not task.done()]:
            await asyncio.wait(under_way)

    async def ground(self) -> None:
        """Stop what is being sent ahead. On return, also when cancelled meanwhile, nothing of it is under way or reads the file."""
        for task in self.flying.values():
            task.cancel()
        cancelled = False
        while any(not task.done() for task in self.flying.values()):  # one that was stopped before it began stays in the list
            try:
                await self.all_landed()
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError
