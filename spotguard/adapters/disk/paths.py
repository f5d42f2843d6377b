"""Names under a root, walked without being led out of it, and system calls in threads with their failures in words."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeVar

from spotguard.adapters.together import settled
from spotguard.ports.placement import PlacementRefused, failure_of

T = TypeVar("T")

TEMPORARY = ".spotguard-tmp"
QUARANTINE = ".spotguard-quarantine"
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


async def in_thread(work: Callable[[], T], *, undo: Callable[[T], None] | None = None) -> T:
    """Run blocking work in a thread. Cancelled: waits until the work has ended, so nothing goes on afterwards, and gives what it
    came to, which nobody will get, to `undo`."""
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        with suppress(asyncio.CancelledError):  # once more: it is raised in any case
            await settled([future])
        if not future.cancelled() and future.exception() is None and undo is not None:
            undo(future.result())
        raise


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Failures of the system as those of the port, naming the file."""
    try:
        yield
    except OSError as error:
        raise failure_of(error, path) from error


def resolve(root: str, path: str) -> str:
    """The absolute path of `path` under `root`; what is on the way to it must be folders that lie under the root.

    Raises PlacementRefused."""
    real_root = os.path.realpath(root)
    current = root
    for part in path.split("/")[:-1]:
        current = os.path.join(current, part)
        try:
            found = os.lstat(current)
        except FileNotFoundError:
            break
        if stat.S_ISLNK(found.st_mode):
            real = os.path.realpath(current)
            if real != real_root and not real.startswith(real_root.rstrip("/") + "/"):
                raise PlacementRefused(f"{current} is a link that leads out of {root}, to {real}: nothing is written through it")
            if not os.path.isdir(real):
                raise PlacementRefused(f"{current} is a link that leads to no folder: nothing is written through it")
        elif not stat.S_ISDIR(found.st_mode):
            raise PlacementRefused(f"{current} is in the way: it is no folder")
    return os.path.join(root, path) if path else root


def make_folders(path: str) -> None:
    """Make a folder and its parents, each owned like the one that it goes into."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_folders(parent)
    with suppress(FileExistsError):
        os.mkdir(path)
        own_like(parent, path)


def open_each(paths: Iterable[str], flags: int) -> list[int]:
    """Descriptors of all of them. On raising, none is open."""
    opened: list[int] = []
    try:
        for path in paths:
            opened.append(os.open(path, flags))
    except BaseException:
        close_each(opened)
        raise
    return opened


def close_each(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


class Owner(NamedTuple):
    uid: int
    gid: int


def owner_of(folder: str) -> Owner | None:
    """Whom what goes into a folder should belong to; None where we may give nothing away, because we are not root."""
    if os.geteuid() != 0:
        return None
    found = os.stat(folder)
    return Owner(found.st_uid, found.st_gid)


def give(path: str | int, owner: Owner) -> None:
    """Give a file, folder or link (or what is open as `path`) to somebody."""
    with suppress(PermissionError):  # root of another machine, on NFS
        os.chown(path, owner.uid, owner.gid, follow_symlinks=isinstance(path, int))


def own_like(folder: str, path: str) -> None:
    """Give a file, folder or link the owner and group of `folder`, where we may (as root)."""
    if (owner := owner_of(folder)) is not None:
        give(path, owner)


def try_lock(fd: int) -> bool:
    """Lock the open file or folder until it is closed; False while somebody else has it. Filesystems without locks are forgiven."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def nearest_folder(path: str) -> str:
    """The folder itself, or the nearest one above it that exists."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def flush_filesystem(path: str) -> None:
    """Have everything on the filesystem of a folder on the disk (syncfs(2)). Raises OSError, also for what failed to be written."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):
        os.sync()
        return
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if libc.syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    finally:
        os.close(fd)


def flush_folder(path: str) -> None:
    """Make the names in a folder durable; filesystems that can not are forgiven."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(fd)
    finally:
        os.close(fd)
