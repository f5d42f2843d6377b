"""Who has files of the trainer open, and how those who wrote ended."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

from spotguard.ports.trainer import TrainerProcess


class WrittenFile(NamedTuple):
    """A file that a process has open for writing."""

    pid: int
    path: str
    """Absolute, as the process sees it."""


class WriterWatch(Protocol):
    async def writers(self, folders: Collection[str]) -> frozenset[TrainerProcess]:
        """The processes that have a file at or under one of these paths (folders or files; absolute, or relative to the watch root)
        open for writing now.

        Those that are found are remembered, so that `exited_badly` can tell later how they ended. Our own process is never among
        them. Processes that may not be looked into are left out: an empty answer means `none that we can see`."""
        ...

    async def users(self, folders: Collection[str]) -> frozenset[TrainerProcess]:
        """The same for files and folders open in any way, mapped files included, but for what a spotguard itself only reads: it
        holds what it sends. A shell whose working folder this is uses no file. Nothing is remembered."""
        ...

    async def exited_badly(self, process: TrainerProcess) -> bool | None:
        """How a process that `writers` told of ended: None while it runs, False when it exited with status 0, else True.

        Where the kernel does not tell the status of other people's children (Linux before 6.15), or the end was missed, any end
        counts as a bad one. A process that `writers` did not tell of may be asked for too, from before its end on. Asking again gives
        the same answer for at least the 1,000 most recent processes."""
        ...

    async def died(self, process: TrainerProcess) -> bool:
        """Whether it has ended badly by now: `exited_badly` is True."""
        ...

    async def written_outside(self, processes: Collection[TrainerProcess], looks: Callable[[str], bool]) -> frozenset[WrittenFile]:
        """The regular files outside the watch root, of a path that `looks`, that these processes or those below them have open for
        writing now. What may not be looked into is left out. Nothing is remembered."""
        ...
