"""A temporary folder beside the place that its content goes to."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache

from spotguard.adapters.disk.paths import (
    Owner,
    close_each,
    flush_filesystem,
    give,
    in_thread,
    make_folders,
    nearest_folder,
    open_each,
    own_like,
    owner_of,
    translated,
    try_lock,
)
from spotguard.ports.placement import Arrived, PlacementRefused, failure_of

_NO_RESERVING = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_WORKING_MODE = 0o700
_FLUSHED_ALONE_BYTES = 1 << 20
"""Smaller files are flushed all together in the end: one fsync each would cost more than fetching them."""


class LocalStage:
    def __init__(self, root: str, folder: str, goes_into: str) -> None:
        """Opens the stage in `folder` (absolute, under `root`), whose content goes into the folder `goes_into`."""
        self._root = root
        self.folder_path = folder
        self.goes_into = goes_into
        make_folders(os.path.dirname(folder))
        with suppress(FileExistsError):
            os.mkdir(folder, _WORKING_MODE)
        self.lock = lock_folder(folder)
        if self.lock is None:
            raise PlacementRefused(f"{folder} is used by another restore")
        self.tree = os.path.join(folder, "tree")
        self._prefix = os.path.relpath(self.tree, root)
        if not stat.S_ISDIR(_mode(self.tree)):
            remove_entry(self.tree)
            os.mkdir(self.tree)
        self.modes: dict[str, int] = {}
        self._unflushed = False

    def path(self, path: str) -> str:
        return f"{self._prefix}/{path}" if path else self._prefix

    async def keep_only(self, files: Collection[str]) -> None:
        def work() -> None:
            with translated(self.tree):
                wanted = set(files)
                ways = {parent for path in wanted for parent in _parents(path)}
                for path in list(_below(self.tree, ways)):
                    if path not in wanted:
                        remove_entry(self._at(path))

        await in_thread(work)

    async def folder(self, path: str, mode: int) -> None:
        def work() -> None:
            with translated(path):
                self._make(path)

        self.modes[path] = mode & 0o3777
        await in_thread(work)

    async def link(self, path: str, target: str) -> None:
        def work() -> None:
            with translated(path):
                self._make(os.path.dirname(path))
                remove_entry(self._at(path))
                os.symlink(target, self._at(path))
                own_like(nearest_folder(self.goes_into), self._at(path))

        await in_thread(work)

    async def take(self, path: str, source: str) -> bool:
        def work() -> bool:
            self._make(os.path.dirname(path))
            remove_entry(self._at(path))
            try:
                os.link(os.path.join(self._root, source), self._at(path), follow_symlinks=False)
            except OSError:
                return False  # another filesystem, one without hard links, or fs.protected_hardlinks: it is fetched instead
            return True

        return await in_thread(work)

    async def create(self, sizes: Mapping[str, int]) -> None:
        def work() -> None:
            made: set[str] = set()
            for path, size in sizes.items():
                try:
                    if (parent := os.path.dirname(path)) not in made:
                        self._make(parent)
                        made.add(parent)
                    self._create(path, size)
                except OSError as error:
                    raise failure_of(error, self._at(path)) from error

        await in_thread(work)

    async def open_all(self, paths: Sequence[str]) -> Sequence[int]:
        def work() -> list[int]:
            return open_each(map(self._at, paths), os.O_RDWR | os.O_NOFOLLOW)

        with translated(self.tree):
            return await in_thread(work, undo=close_each)

    async def close(self, path: str, fd: int) -> None:
        os.close(fd)

    async def finish(self, files: Sequence[Arrived]) -> None:
        def work() -> None:
            left = deque(files)
            try:
                with translated(self.goes_into):
                    owner = owner_of(self.goes_into)
                while left:
                    self._finish(left.popleft(), owner)
            finally:
                close_each(file.fd for file in left)

        await in_thread(work)

    def _finish(self, file: Arrived, owner: Owner | None) -> None:
        try:
            found = os.fstat(file.fd)
            if found.st_size >= _FLUSHED_ALONE_BYTES:
                os.fsync(file.fd)
            else:
                self._unflushed = True
            if owner is not None and owner != (found.st_uid, found.st_gid):
                give(file.fd, owner)
            os.fchmod(file.fd, file.mode & 0o777)  # never set-user-id by the word of a bucket
            os.utime(file.fd, ns=(file.mtime_ns, file.mtime_ns))
        except OSError as error:
            raise failure_of(error, self._at(file.path)) from error
        finally:
            os.close(file.fd)

    def flush(self) -> None:
        """Have all that was finished on the disk. Blocking."""
        if self._unflushed:
            flush_filesystem(self.tree)
            self._unflushed = False

    async def stamp(self, path: str, *, mode: int, mtime_ns: int) -> None:
        def work() -> None:
            with translated(self._at(path)):
                own_like(nearest_folder(self.goes_into), self._at(path))
                os.chmod(self._at(path), mode & 0o777)  # never set-user-id by the word of a bucket
                os.utime(self._at(path), ns=(mtime_ns, mtime_ns), follow_symlinks=False)

        await in_thread(work)

    async def end(self, *, keep: bool) -> None:
        await in_thread(lambda: end_stage(self, keep=keep))

    def _at(self, path: str) -> str:
        return os.path.join(self.tree, path) if path else self.tree

    def _create(self, path: str, size: int) -> None:
        at, flags = self._at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            fd = os.open(at, flags, 0o600)
        except FileExistsError:
            remove_entry(at)
            fd = os.open(at, flags, 0o600)
        try:
            reserve(fd, size)
        finally:
            os.close(fd)

    def _make(self, path: str) -> None:
        current = self.tree
        for part in path.split("/") if path else ():
            current = os.path.join(current, part)
            if not stat.S_ISDIR(_mode(current)):
                remove_entry(current)
                os.mkdir(current)


def end_stage(stage: LocalStage, *, keep: bool) -> None:
    """Let go of a stage; without `keep`, remove it and the temporary folder if that is empty then."""
    if stage.lock is None:
        return
    if not keep:
        shutil.rmtree(stage.folder_path, ignore_errors=True)
    os.close(stage.lock)
    stage.lock = None
    with suppress(OSError):
        os.rmdir(os.path.dirname(stage.folder_path))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def reserve(fd: int, size: int) -> None:
    """Give an empty file its size, with the blocks allocated where the filesystem can do that at once (fallocate(2))."""
    if size == 0:
        return
    libc = _libc()
    if hasattr(libc, "fallocate"):
        while libc.fallocate(fd, 0, ctypes.c_int64(0), ctypes.c_int64(size)) != 0:
            error = ctypes.get_errno()
            if error == errno.EINTR:
                continue
            if error not in _NO_RESERVING:
                raise OSError(error, os.strerror(error))
            break
        else:
            return
    os.ftruncate(fd, size)


def lock_folder(path: str) -> int | None:
    """A descriptor that locks the folder until it is closed, or None while somebody else has it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if try_lock(fd):
            return fd
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def remove_entry(path: str) -> None:
    """Remove a file, link or tree of ours; none is no error."""
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    elif mode:
        os.unlink(path)


def _mode(path: str) -> int:
    """As lstat tells; 0 for nothing."""
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0


def _parents(path: str) -> Iterator[str]:
    while path := os.path.dirname(path):
        yield path


def _below(tree: str, ways: Collection[str], prefix: str = "") -> Iterator[str]:
    """Every entry below, folders that are on the way to something wanted opened instead of named."""
    with os.scandir(os.path.join(tree, prefix)) as entries:
        for entry in entries:
            path = f"{prefix}/{entry.name}" if prefix else entry.name
            if path in ways and entry.is_dir(follow_symlinks=False):
                yield from _below(tree, ways, path)
            else:
                yield path
