"""What the disk under the watch root must do for us. Nothing is ever written there except by a restore (another port).

Paths are relative to the watch root unless they are absolute (links that were followed out of it).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from spotguard.core.checkpoint import FileStat, Tree
from spotguard.core.structure import Finding, Probe


class CannotRead(Exception):
    """A file is there but may not be opened, or reading it fails. `str()` names the file and the reason."""


class Copying(Enum):
    """Whether an open file is to be a copy that nobody else can write: its content then survives being written over, too."""

    NEVER = "never"
    IF_SHARED = "if shared"
    """Where the filesystem lets a copy share its blocks (FICLONE: XFS, btrfs), which costs nothing."""
    ALWAYS = "always"
    """Else byte for byte, where that leaves room for another one."""


class Growth(NamedTuple):
    """How far an open file has come that somebody is writing."""

    size: int
    """Bytes, now."""
    filled: int
    """Where the first hole begins at or behind the place that was asked about; `size` where there is none, or holes are not told."""
    has_name: bool
    """False once it was deleted, or another file got its name."""


class HeldFile(Protocol):
    """A file that is open for reading, so that its content survives its name."""

    @property
    def fd(self) -> int: ...

    @property
    def stat(self) -> FileStat:
        """Of the open file, when it was opened."""
        ...

    @property
    def private(self) -> bool:
        """Whether it is a copy of ours: `stat` is that of the file which it was made of, and it never changes."""
        ...

    def unchanged(self) -> bool:
        """Whether the open file's size and mtime are still those of `stat` (its name may be gone)."""
        ...

    def close(self) -> None:
        """Let go; idempotent."""
        ...


class CheckpointVolume(Protocol):
    async def scan(self, folders: Collection[str] | None = None) -> Tree:
        """Look at the whole root, or look again at `folders` (recursively) and take the rest from the last look.

        A root that does not exist is made; it may be empty. Raises CannotRead only if the root itself can not be listed."""
        ...

    async def probe(self, probes: Sequence[Probe]) -> Mapping[Probe, Finding]:
        """Check the structure of files without loading them. Answers are remembered by the file's identity.

        A file that is gone or may not be read has the finding `sound=False` with that reason."""
        ...

    async def stat(self, sources: Sequence[str]) -> Mapping[str, FileStat | None]:
        """Fresh stats (links followed); None for what is gone."""
        ...

    async def hold(self, source: str, copying: Copying = Copying.NEVER) -> HeldFile:
        """Open for reading. Raises FileNotFoundError, CannotRead (also for anything that is no regular file).

        Where no copy can be made it is the file itself. The copy has no name anywhere and takes space until it is closed. One that was
        written while it was copied has a `stat` that is not the one from before."""
        ...

    async def hold_all(self, sources: Sequence[str]) -> Sequence[HeldFile | None]:
        """The same for many files, without copies; None for each that `hold` would refuse."""
        ...

    async def checksum(self, held: HeldFile, offset: int = 0, size: int | None = None) -> int:
        """The CRC64NVME of `size` bytes of the open file from `offset` on, or of all that can be read."""
        ...

    async def growth(self, held: HeldFile, offset: int) -> Growth:
        """How far it has come; holes are looked for from `offset` on. Raises OSError."""
        ...

    async def read(self, source: str, max_bytes: int) -> bytes:
        """At most `max_bytes + 1` bytes, so that more than allowed can be told. Raises FileNotFoundError, CannotRead."""
        ...

    async def free_bytes(self) -> int:
        """Free space of the filesystem under the root, for unprivileged users."""
        ...

    def holds_are_safe(self) -> bool:
        """False on NFS, SMB and FUSE, where an open file does not survive its name or pins a server."""
        ...
