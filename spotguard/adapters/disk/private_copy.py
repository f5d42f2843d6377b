"""A copy of a trainer's file without a name: an unlinked file, so that a kill leaves nothing behind and no folder's times change.

It is made beside the original (O_TMPFILE in the watch root), where filesystems that can do it let both share their blocks. Where we may
not write there, a copy byte for byte goes to the machine's folder for large temporary files.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable

from spotguard.adapters.disk.filesystem_type import filesystem_type
from spotguard.ports.checkpoint_volume import Copying

_FICLONE = 0x40049409
"""linux/fs.h: _IOW(0x94, 9, int)."""
_ELSEWHERE = "/var/tmp"
_CHUNK_BYTES = 32 << 20
_ROOM_FACTOR = 2
"""How often it must fit into the free space: the copy itself, and as much again for what the trainer writes meanwhile."""


def private_copy(fd: int, size: int, root: str, copying: Copying, wanted: Callable[[], bool]) -> int | None:
    """A descriptor of a copy of the open file, None where none can be made or it is not wanted any more.

    Whether the file was written meanwhile is for the caller to see. Raises OSError when reading fails."""
    if copying is Copying.NEVER or size == 0:
        return None
    for folder in (root, _ELSEWHERE):
        into = _unnamed(folder)
        if into is None:
            continue
        try:
            if _shares(into, fd) or (copying is Copying.ALWAYS and _has_room(folder, size) and _copied(fd, into, size, wanted)):
                return into
        except BaseException:
            os.close(into)
            raise
        os.close(into)
    return None


def _unnamed(folder: str) -> int | None:
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return None  # read-only, not ours to write, or a filesystem without it


def _shares(into: int, fd: int) -> bool:
    try:
        fcntl.ioctl(into, _FICLONE, fd)
    except OSError:
        return False
    return True


def _has_room(folder: str, size: int) -> bool:
    found = os.statvfs(folder)
    in_memory = folder == _ELSEWHERE and filesystem_type(folder) in ("tmpfs", "ramfs")
    return not in_memory and found.f_bavail * found.f_frsize >= _ROOM_FACTOR * size


def _copied(fd: int, into: int, size: int, wanted: Callable[[], bool]) -> bool:
    """False when the space ran out, the file was cut off meanwhile or nobody wants it any more."""
    offset = 0
    while offset < size and wanted():
        try:
            count = os.sendfile(into, fd, offset, min(_CHUNK_BYTES, size - offset))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return False
            raise
        if count == 0:
            return False
        offset += count
    return offset == size
