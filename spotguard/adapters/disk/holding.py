"""Opening a trainer's file for reading, so that neither we nor it can be hurt by it."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable

from spotguard.adapters.crc64 import crc64nvme
from spotguard.adapters.disk.private_copy import private_copy
from spotguard.core.checkpoint import FileStat
from spotguard.ports.checkpoint_volume import CannotRead, Copying, Growth

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_CHUNK_BYTES = 4 << 20
_common: dict[int, int] = {}
"""Devices and permission bits seen so far, of which there are few."""
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})


def file_stat(found: os.stat_result) -> FileStat:
    """Numbers that many files have in common are one object, as a look at a big tree is kept."""
    mode = stat.S_IMODE(found.st_mode)
    written, changed = found.st_mtime_ns, found.st_ctime_ns
    return FileStat(
        size=found.st_size,
        mtime_ns=written,
        ctime_ns=written if changed == written else changed,
        device=_common.setdefault(found.st_dev, found.st_dev),
        inode=found.st_ino,
        mode=_common.setdefault(mode, mode),
    )


def open_to_read(path: str, shown: str) -> tuple[int, FileStat]:
    """A descriptor of a regular file, and its stat. Links are not followed, and no FIFO or device is waited for.

    Its access time is left alone where the kernel allows that (the owner's files). Raises FileNotFoundError, CannotRead.
    """
    try:
        fd = _open(path)
    except OSError as error:
        raise _refusal(error, shown) from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise CannotRead(f"{shown}: not a regular file")
    except BaseException:
        os.close(fd)
        raise
    return fd, file_stat(found)


def _open(path: str) -> int:
    try:
        return os.open(path, _FLAGS | os.O_NOATIME)
    except PermissionError:
        return os.open(path, _FLAGS)


def _refusal(error: OSError, shown: str) -> Exception:
    if error.errno in _GONE:
        return FileNotFoundError(error.errno, os.strerror(error.errno), shown)
    if error.errno == errno.ELOOP:
        return CannotRead(f"{shown}: it has become a link")
    if error.errno == errno.ENXIO:
        return CannotRead(f"{shown}: not a regular file")
    return CannotRead(f"{shown}: {error.strerror or error}")


class HeldFile:
    """An open file. Whoever has it closes it."""

    def __init__(self, fd: int, found: FileStat, source: str, *, private: bool = False) -> None:
        self._private = private
        self._fd = fd
        self._stat = found
        self._source = source

    @property
    def fd(self) -> int:
        """Raises ValueError once closed, so that a number that means another file by now is never read."""
        if self._fd < 0:
            raise ValueError(f"{self._source} was let go")
        return self._fd

    @property
    def stat(self) -> FileStat:
        return self._stat

    @property
    def private(self) -> bool:
        return self._private

    def unchanged(self) -> bool:
        if self._private:
            return self._fd >= 0
        found = os.fstat(self.fd)
        return (found.st_size, found.st_mtime_ns) == (self._stat.size, self._stat.mtime_ns)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __repr__(self) -> str:
        return f"<HeldFile {self._source} fd={self._fd}>"


def hold(path: str, source: str) -> HeldFile:
    """Raises FileNotFoundError, CannotRead."""
    return HeldFile(*open_to_read(path, source), source)


def hold_apart(held: HeldFile, root: str, source: str, copying: Copying, wanted: Callable[[], bool]) -> HeldFile:
    """A copy of an open file that nobody else can write, with the stat of the moment after it was made; the file itself if none can be.

    Raises CannotRead when it cannot be read; it is closed then."""
    try:
        copy = private_copy(held.fd, held.stat.size, root, copying, wanted)
        if copy is None:
            return held
        after = file_stat(os.fstat(held.fd))
    except OSError as error:
        held.close()
        raise _refusal(error, source) from error
    held.close()
    return HeldFile(copy, after, source, private=True)


def checksum_of(fd: int, wanted: Callable[[], bool] = lambda: True, *, offset: int = 0, size: int | None = None) -> int:
    """The CRC64NVME of `size` bytes (of all that can be read), while it is wanted; the descriptor's position stays."""
    value, end = 0, sys.maxsize if size is None else offset + size
    while wanted() and offset < end and (chunk := os.pread(fd, min(_CHUNK_BYTES, end - offset), offset)):
        value = crc64nvme(chunk, value)
        offset += len(chunk)
    return value


def growth_of(fd: int, offset: int) -> Growth:
    """Space that is reserved and not written yet counts as a hole (lseek(2), SEEK_HOLE). Moves the descriptor's position."""
    found = os.fstat(fd)
    filled = found.st_size
    if offset < found.st_size:
        try:
            filled = os.lseek(fd, offset, os.SEEK_HOLE)
        except OSError as error:
            if error.errno not in (errno.ENXIO, errno.EINVAL, errno.EOPNOTSUPP):  # cut off meanwhile; a filesystem that knows no holes
                raise
    return Growth(found.st_size, filled, found.st_nlink > 0)


def read_at_most(path: str, source: str, max_bytes: int) -> bytes:
    """At most `max_bytes + 1` bytes. Raises FileNotFoundError, CannotRead."""
    fd, _ = open_to_read(path, source)
    try:
        return _read(fd, max_bytes + 1)
    except OSError as error:
        raise _refusal(error, source) from error
    finally:
        os.close(fd)


def _read(fd: int, limit: int) -> bytes:
    content = bytearray()
    while len(content) < limit and (chunk := os.pread(fd, min(_CHUNK_BYTES, limit - len(content)), len(content))):
        content += chunk
    return bytes(content)
