"""The disk that a restore writes to."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import stat
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from spotguard.adapters.crc64 import crc64nvme
from spotguard.adapters.disk.paths import (
    QUARANTINE,
    TEMPORARY,
    flush_folder,
    in_thread,
    make_folders,
    nearest_folder,
    own_like,
    resolve,
    translated,
    try_lock,
)
from spotguard.adapters.disk.quarantine import move_aside, quarantined_bytes
from spotguard.adapters.disk.stage import LocalStage, end_stage, lock_folder
from spotguard.ports.placement import Lying, Move, PlacementRefused, Stage

_CHUNK_BYTES = 8 << 20
_LOCK_POLL_SECONDS = 0.2
_LISTED_FROM = 64
"""Of so many in one folder it is asked once what is there: one listing costs less than looking for each that is not."""
_STAGE_PREFIX = "restore-"


class LocalPlacement:
    def __init__(self, root: str) -> None:
        """`root`: absolute; made when something is written."""
        self._root = root

    def absolute(self, path: str) -> str:
        return os.path.join(self._root, path) if path else self._root

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        folder = self.absolute(TEMPORARY)
        path = os.path.join(folder, "restore.lock")
        while (fd := await in_thread(lambda: self._try_lock(folder, path), undo=_close)) is None:  # noqa: ASYNC110 - another process holds it
            await asyncio.sleep(_LOCK_POLL_SECONDS)
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)
            os.close(fd)
            with suppress(OSError):
                os.rmdir(folder)

    def _try_lock(self, folder: str, path: str) -> int | None:
        with translated(path):
            if os.path.islink(folder):
                raise PlacementRefused(f"{folder} is a link: remove it, it is where a restore keeps its temporary files")
            make_folders(folder)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                if try_lock(fd) and os.fstat(fd).st_ino == os.stat(path).st_ino:
                    return fd
            except FileNotFoundError:
                pass  # another restore had it and has just removed it
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
            return None

    async def free_bytes(self, path: str = "") -> int:
        def work() -> int:
            with translated(self.absolute(path)):
                found = os.statvfs(nearest_folder(self.absolute(path)))
                return found.f_bavail * found.f_frsize

        return await in_thread(work)

    async def stage(self, name: str, token: str) -> LocalStage:
        def work() -> LocalStage:
            target = resolve(self._root, name) if name else os.path.join(self._root, "loose")
            parent = os.path.dirname(target)
            with translated(parent):
                make_folders(parent)
                folder = os.path.join(parent, TEMPORARY)
                if os.path.islink(folder):
                    raise PlacementRefused(f"{folder} is a link: remove it, it is where a restore keeps its temporary files")
                own = _STAGE_PREFIX + hashlib.sha256(f"{name}\0{token}".encode()).hexdigest()[:16]
                _sweep(folder, own)
                return LocalStage(self._root, os.path.join(folder, own), parent)

        return await in_thread(work, undo=lambda stage: end_stage(stage, keep=True))

    async def lying(self, path: str) -> Lying | None:
        with translated(path):
            return await in_thread(lambda: _lying(resolve(self._root, path)))

    async def all_lying(self, paths: Sequence[str]) -> Mapping[str, Lying]:
        def work() -> dict[str, Lying]:
            found = {}
            by_folder: dict[str, list[str]] = {}
            for path in paths:
                by_folder.setdefault(path.rpartition("/")[0], []).append(path)
            for inside in by_folder.values():
                folder = os.path.dirname(resolve(self._root, inside[0]))
                there = _names(folder) if len(inside) >= _LISTED_FROM else None
                for path in inside:
                    name = os.path.basename(path)
                    if (there is None or name in there) and (lying := _lying(os.path.join(folder, name))) is not None:
                        found[path] = lying
            return found

        with translated(paths[0] if paths else ""):
            return await in_thread(work)

    async def checksum(self, path: str) -> int | None:
        def work() -> int | None:
            try:
                fd = os.open(resolve(self._root, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                return None
            with open(fd, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    return None
                crc = 0
                while chunk := file.read(_CHUNK_BYTES):
                    crc = crc64nvme(chunk, crc)
                return crc

        with translated(path):
            return await in_thread(work)

    async def publish(self, stage: Stage, moves: Sequence[Move], *, aside: str) -> str | None:
        if not isinstance(stage, LocalStage):
            raise TypeError("a stage of another placement")

        def work() -> str | None:
            with translated(self._root):
                targets = {move: resolve(self._root, move.target) for move in moves}
                stage.flush()
                _finish_folders(stage)
                for target in targets.values():
                    make_folders(os.path.dirname(target))
                occupied = [move.target for move, target in targets.items() if os.path.lexists(target)]
                went = move_aside(self._root, occupied, aside) if occupied else None
                for move, target in targets.items():
                    _rename(os.path.join(stage.tree, move.staged) if move.staged else stage.tree, target)
                for folder in {os.path.dirname(target) for target in targets.values()}:
                    flush_folder(folder)
                end_stage(stage, keep=False)
                return went

        return await in_thread(work)

    async def set_aside(self, paths: Sequence[str], aside: str) -> str:
        def work() -> str:
            with translated(self._root):
                for path in paths:
                    resolve(self._root, path)
                return move_aside(self._root, paths, aside)

        return await in_thread(work)

    async def quarantined(self) -> tuple[str, int]:
        return self.absolute(QUARANTINE), await in_thread(lambda: quarantined_bytes(self._root))

    async def write(self, path: str, content: bytes, *, mode: int, mtime_ns: int | None) -> None:
        stage = await self.stage(path, hashlib.sha256(content).hexdigest())

        def work() -> None:
            target, staged = resolve(self._root, path), os.path.join(stage.tree, "file")
            with translated(target):
                with open(staged, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                own_like(stage.goes_into, staged)
                os.chmod(staged, mode)
                if mtime_ns is not None:
                    os.utime(staged, ns=(mtime_ns, mtime_ns))
                os.replace(staged, target)
                flush_folder(os.path.dirname(target))

        try:
            await in_thread(work)
        finally:
            end_stage(stage, keep=False)

    async def set_times(self, times: Mapping[str, int]) -> None:
        def work() -> None:
            for path, mtime_ns in times.items():
                with suppress(OSError):
                    os.utime(resolve(self._root, path), ns=(mtime_ns, mtime_ns), follow_symlinks=False)

        await in_thread(work)


def _names(folder: str) -> set[str] | None:
    """What is in a folder; None where that may not be listed."""
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except PermissionError:
        return None


def _lying(path: str) -> Lying | None:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Lying(stat.S_ISREG(found.st_mode), found.st_size, found.st_mtime_ns)


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)


def _sweep(folder: str, own: str) -> None:
    """Remove what killed restores left beside; what another one works in right now is locked and stays."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        path = os.path.join(folder, name)
        if name == own or not name.startswith(_STAGE_PREFIX) or os.path.islink(path) or not os.path.isdir(path):
            continue
        if (lock := lock_folder(path)) is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _finish_folders(stage: LocalStage) -> None:
    """Give the staged folders their bits and owner, the deepest first, and make their names durable."""
    for at, _, _ in os.walk(stage.tree, topdown=False):
        flush_folder(at)
        own_like(stage.goes_into, at)
        path = os.path.relpath(at, stage.tree)
        if path in stage.modes:
            os.chmod(at, stage.modes[path])


def _rename(staged: str, target: str) -> None:
    try:
        os.rename(staged, target)
    except OSError as error:
        if not os.path.isfile(staged) or os.path.isdir(target) or not _other_filesystem(staged, target):
            raise
        _copy_beside(staged, target, error)


def _other_filesystem(one: str, other: str) -> bool:
    return os.stat(one).st_dev != os.stat(os.path.dirname(other)).st_dev


def _copy_beside(staged: str, target: str, cause: OSError) -> None:
    """A folder on the way to the target is a mount of its own: copy there first, then rename."""
    folder = os.path.join(os.path.dirname(target), TEMPORARY)
    beside = os.path.join(folder, os.path.basename(os.path.dirname(os.path.dirname(staged))) + ".copy")
    if os.path.islink(folder):
        raise PlacementRefused(f"{folder} is a link: remove it, it is where a restore keeps its temporary files") from cause
    make_folders(folder)
    try:
        shutil.copyfile(staged, beside, follow_symlinks=False)
        shutil.copystat(staged, beside, follow_symlinks=False)
        own_like(os.path.dirname(target), beside)
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(beside)
        with suppress(OSError):
            os.rmdir(folder)
