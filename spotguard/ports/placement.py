"""Where a restore writes: under one root, never through a link that leads out of it, and never half under a checkpoint's name.

What is fetched goes into a *stage*, a temporary folder on the filesystem of the place that it is for; publishing is a rename. Paths
are POSIX and relative to the root unless said otherwise. A verb that is cancelled has either happened or not when it raises: nothing
goes on behind the caller's back.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol


class PlacementFailed(Exception):
    """Writing under the root failed: permission, a read-only disk, a folder in the way. `str()` is one line for people."""


class PlacementRefused(PlacementFailed):
    """The path leads out of the root through a link on this disk, or through something that is no folder."""


class NoSpace(PlacementFailed):
    """The disk is full, or would be."""


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def failure_of(error: OSError, path: str) -> PlacementFailed:
    """What a failure of the system is here; it names the file that `error` names, or else this one."""
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else path
    if error.errno in _FULL:
        return NoSpace(f"the disk is full while writing {where}: free some space, or restore to another disk with --to")
    return PlacementFailed(f"{where}: {error.strerror or error}")


class Lying(NamedTuple):
    """What lies at a path; no link is followed at its end."""

    is_file: bool
    """A regular file; anything else is only in the way."""
    size: int
    mtime_ns: int


class Move(NamedTuple):
    """One rename of a publication."""

    staged: str
    """Path in the stage; empty for its whole tree."""
    target: str
    """Path under the root."""


class Arrived(NamedTuple):
    """A file of a stage that is complete."""

    path: str
    fd: int
    """As `Stage.open_all` gave it."""
    mode: int
    mtime_ns: int


class Stage(Protocol):
    """A temporary folder, with what a restore of the same that was killed left in it. Paths are relative to the stage."""

    def path(self, path: str) -> str:
        """The same relative to the root, for `Placement.lying` and `Placement.checksum`."""
        ...

    async def keep_only(self, files: Collection[str]) -> None:
        """Remove everything but these files and the folders on their way."""
        ...

    async def folder(self, path: str, mode: int) -> None:
        """Make a folder, parents included. The permission bits are set when it is published."""
        ...

    async def link(self, path: str, target: str) -> None:
        """Make a symbolic link with this text."""
        ...

    async def take(self, path: str, source: str) -> bool:
        """Use the file at `source` (relative to the root) by a hard link. False where the filesystem can not or may not."""
        ...

    async def create(self, sizes: Mapping[str, int]) -> None:
        """Make files of these sizes, their space reserved where the filesystem can. Raises NoSpace."""
        ...

    async def open_all(self, paths: Sequence[str]) -> Sequence[int]:
        """Descriptors to write created files with, to be given to `close` or `finish`. On raising, or cancelled, none is open."""
        ...

    async def close(self, path: str, fd: int) -> None:
        """Close a file that is not complete."""
        ...

    async def finish(self, files: Sequence[Arrived]) -> None:
        """Close complete files, stamped; they are on the disk by now, or will be when the stage is published.

        Raises NoSpace and PlacementFailed with all descriptors closed."""
        ...

    async def stamp(self, path: str, *, mode: int, mtime_ns: int) -> None:
        """Set a file's permission bits, its owner (that of the folder it goes into, where we may) and its modification time."""
        ...

    async def end(self, *, keep: bool) -> None:
        """Let the stage go: thrown away, or with what is in it kept for a later restore of the same. Idempotent."""
        ...


class Placement(Protocol):
    def absolute(self, path: str) -> str:
        """The absolute path of something under the root; of the root itself for an empty path."""
        ...

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Be the only restore into this root: waits for another one, of another process too. Let go when we are killed."""
        ...

    async def free_bytes(self, path: str = "") -> int:
        """Free space for unprivileged users on the filesystem that `path` is or would be on."""
        ...

    async def stage(self, name: str, token: str) -> Stage:
        """The stage for what goes to `name`. The same name and token find what a killed restore left; leavings of others are removed."""
        ...

    async def lying(self, path: str) -> Lying | None:
        """What lies there; None for nothing. Raises PlacementRefused."""
        ...

    async def all_lying(self, paths: Sequence[str]) -> Mapping[str, Lying]:
        """The same for many at once; without those where nothing lies."""
        ...

    async def checksum(self, path: str) -> int | None:
        """CRC64NVME of the regular file there, no link followed at its end; None for none."""
        ...

    async def publish(self, stage: Stage, moves: Sequence[Move], *, aside: str) -> str | None:
        """Flush what is staged to the disk and give it its names, each by one rename, after moving what has these names to the quarantine
        as `aside`.

        Returns where that is (absolute), None if there was nothing. Killed in its middle, a name may be free, never a mixture."""
        ...

    async def set_aside(self, paths: Sequence[str], aside: str) -> str:
        """Move these into the quarantine as `aside`; returns where that is (absolute)."""
        ...

    async def quarantined(self) -> tuple[str, int]:
        """Where the quarantine of the root is (absolute), and how many bytes of files lie in it. Nothing is ever deleted there."""
        ...

    async def write(self, path: str, content: bytes, *, mode: int, mtime_ns: int | None) -> None:
        """Write a small file, whole or not at all."""
        ...

    async def set_times(self, times: Mapping[str, int]) -> None:
        """Set modification times in ns, by path; one that is gone or not ours to change is no error."""
        ...
