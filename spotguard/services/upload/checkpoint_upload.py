"""Gets the files of one checkpoint into the bucket, each content once, and remembers what lies where.

A file's content is identified by its stat. What changes while it is being sent is sent again under the next unused `@n`; nothing is
ever overwritten. Files are held open while they wait, so that what the trainer rotates away is still sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from spotguard.core.checkpoint import FileStat, LocalFile
from spotguard.ports.checkpoint_volume import CannotRead, Copying, HeldFile
from spotguard.services.upload.errand import ChangedWhileSending
from spotguard.services.upload.file_placing import FilePlacing, SentFile, UploadTools
from spotguard.services.upload.growing_file import Ending
from spotguard.services.upload.part_engine import first_of
from spotguard.services.upload.part_slots import Rank
from spotguard.services.upload.small_files import rows
from spotguard.services.upload.upload_tally import UploadTally

__all__ = ["CheckpointUpload", "FileVanished", "SentFile", "UploadTools", "same_content"]

_FILES_AT_ONCE = 8
_OPENED_AT_ONCE = 64


class FileVanished(Exception):
    """A file was gone before it could be opened."""


def same_content(now: FileStat, then: FileStat) -> bool:
    """Whether two stats are of one content. Permission bits are no content; ctime is, because mtime can be set back."""
    return now[:5] == then[:5]


class CheckpointUpload:
    def __init__(self, tools: UploadTools, name: str, *, is_directory: bool, rank: Rank) -> None:
        self.name = name
        self.sent: dict[str, SentFile] = {}
        self.tally = UploadTally()
        self._tools = tools
        self._placing = FilePlacing(tools, name, self.tally, is_directory=is_directory, rank=rank)
        self._held: dict[str, HeldFile] = {}
        self._read: list[HeldFile] = []
        """Those that are being read, once for each reader: they are closed when the last of them has ended."""
        self._from_copies: set[tuple[str, FileStat]] = set()
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def holds(self) -> bool:
        """Whether files are held open."""
        return bool(self._held)

    def uploaded_bytes(self, files: Sequence[LocalFile]) -> int:
        """How much of these contents is in the bucket or has gone, for display."""
        return sum(file.stat.size if self._is_sent(file) else self.tally.there(file) for file in files)

    def bytes_left(self, files: Sequence[LocalFile]) -> int:
        """How much of these contents must still go over the wire, as far as known: what an earlier checkpoint has is copied."""
        unsent = (file for file in files if not self._is_sent(file) and not self._placing.is_duplicate(file))
        return sum(max(0, file.stat.size - self.tally.there(file)) for file in unsent)

    def unproven_bytes(self, files: Sequence[LocalFile]) -> int:
        """How much of what is not left went before the files were whole, and is to be compared with them."""
        return sum(self.tally.unproven(file) for file in files if not self._is_sent(file))

    def secures(self, files: Sequence[LocalFile]) -> bool:
        """Whether each of these contents is sent or held open."""
        return all(self._is_sent(file) or self._is_held(file) for file in files)

    def has(self, file: LocalFile) -> bool:
        """Whether this very content is in the bucket."""
        return self._is_sent(file)

    def outlives(self, file: LocalFile) -> bool:
        """Whether this content was, or will be, sent from a copy of ours: what becomes of the file is of no matter any more."""
        held = self._held.get(file.path)
        return (file.path, file.stat) in self._from_copies or (held is not None and held.private and same_content(held.stat, file.stat))

    async def hold(self, files: Sequence[LocalFile], limit: int, copying: Copying = Copying.NEVER) -> None:
        """Open the files that are not sent yet, the largest first, at most `limit`. One that is gone or unreadable is left out."""
        unsent = sorted((file for file in files if not self._is_sent(file)), key=lambda file: -file.stat.size)
        if copying is Copying.NEVER:
            for at in range(0, min(limit, len(unsent)), _OPENED_AT_ONCE):
                await self._hold_all(unsent[at : min(limit, at + _OPENED_AT_ONCE)])
            return
        for file in unsent[:limit]:
            try:
                await self._hold(file, copying)
            except (FileVanished, ChangedWhileSending, CannotRead):
                continue  # sending it meets the same and says so

    async def send(self, files: Sequence[LocalFile]) -> None:
        """Send what of these files is not in the bucket yet, the largest first.

        Raises FileVanished, ChangedWhileSending, FileShrank, CannotRead or a StoreError; what was sent before stays known."""
        waiting = rows(sorted((file for file in files if not self._is_sent(file)), key=lambda file: -file.stat.size))

        async def worker() -> None:
            for row in waiting:
                if len(row) > 1:
                    await self._send_small(row)
                for file in row:
                    if not self._is_sent(file):
                        await self._send_one(file)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_FILES_AT_ONCE):
                    group.create_task(worker())
        except BaseExceptionGroup as failures:
            raise first_of(failures) from failures

    async def send_ahead(self, file: LocalFile, rank: Rank) -> Ending:
        """Send parts of a file that is still being written. Raises FileVanished, CannotRead, OSError or a StoreError.

        Cancelled: what has gone stays, and nothing reads the file any more."""
        try:
            held = await self._tools.volume.hold(file.source)
        except FileNotFoundError as error:
            raise FileVanished(file.source) from error
        try:
            return await self._placing.send_ahead(file, held, rank)
        finally:
            held.close()

    def doubt(self, paths: Sequence[str]) -> None:
        """Forget that these were sent: the bucket says otherwise."""
        self._placing.look_again()
        for path in paths:
            self.sent.pop(path, None)

    def let_go(self) -> None:
        """Close all files that are held open; one that is being read, when nothing reads it any more."""
        letting_go, self._held = self._held, {}
        for held in letting_go.values():
            self._close_unread(held)

    async def give_up(self) -> None:
        """Close the files and throw unfinished multipart uploads away. What was sent whole stays for the janitor."""
        self.let_go()
        self.tally.clear()
        await self._throw_away()

    async def rest(self) -> None:
        """It is committed: keep what lies where, for the next generation, and nothing else."""
        self.let_go()
        self.tally.clear()
        self._locks.clear()
        self._from_copies.clear()
        await self._throw_away()

    async def _throw_away(self) -> None:
        for key in self._placing.rest():
            await self._tools.engine.forget(key)

    def _is_sent(self, file: LocalFile) -> bool:
        sent = self.sent.get(file.path)
        return sent is not None and same_content(sent.stat, file.stat)

    def _is_held(self, file: LocalFile) -> bool:
        held = self._held.get(file.path)
        return held is not None and same_content(held.stat, file.stat) and held.unchanged()

    async def _hold(self, file: LocalFile, copying: Copying = Copying.NEVER) -> HeldFile:
        held = self._held.get(file.path)
        enough = held is not None and (held.private or copying is Copying.NEVER)
        if held is not None and enough and same_content(held.stat, file.stat):
            return held
        if held is not None:
            del self._held[file.path]
            self._close_unread(held)
        await self._tools.until_telling(file.stat)
        try:
            fresh = await self._tools.volume.hold(file.source, copying)
        except FileNotFoundError as error:
            raise FileVanished(file.source) from error
        if not same_content(fresh.stat, file.stat):
            fresh.close()
            raise ChangedWhileSending(file.source)
        return self._held_once(file, fresh)

    def _held_once(self, file: LocalFile, fresh: HeldFile) -> HeldFile:
        """What is held of it from now on: another may have opened it meanwhile, and only one of the two is closed at the end."""
        other = self._held.get(file.path)
        if other is not None and same_content(other.stat, file.stat) and (other.private or not fresh.private):
            fresh.close()
            return other
        self._held[file.path] = fresh
        if other is not None:
            self._close_unread(other)
        return fresh

    async def _hold_all(self, files: Sequence[LocalFile]) -> None:
        """Open those that are not open. What is gone, unreadable or rewritten is left out: sending it alone meets the same and says so."""
        wanted = [file for file in files if file.path not in self._held]
        if not wanted:
            return
        await self._tools.until_telling(*(file.stat for file in wanted))
        for file, held in zip(wanted, await self._tools.volume.hold_all([file.source for file in wanted]), strict=True):
            if held is None:
                continue
            if file.path in self._held or not same_content(held.stat, file.stat):
                held.close()
            else:
                self._held[file.path] = held

    async def _send_small(self, row: Sequence[LocalFile]) -> None:
        """Send what of these small files goes without trouble."""
        await self._hold_all(row)
        held = {file: held for file in row if (held := self._held.get(file.path)) and same_content(held.stat, file.stat)}
        with self._reading(held):
            for file, sent in (await self._placing.place_small(held)).items():
                self._note(file, held[file], sent)

    async def _send_one(self, file: LocalFile) -> None:
        async with self._locks.setdefault(file.path, asyncio.Lock()):
            if not self._is_sent(file):
                held = await self._hold(file)
                with self._reading({file: held}):
                    self._note(file, held, await self._placing.place(file, held))

    def _note(self, file: LocalFile, held: HeldFile, sent: SentFile) -> None:
        """It is in the bucket."""
        self.sent[file.path] = sent
        if held.private:
            self._from_copies.add((file.path, file.stat))
        self.tally.placed(file)
        if self._held.get(file.path) is held:
            del self._held[file.path]

    @contextmanager
    def _reading(self, files: Mapping[LocalFile, HeldFile]) -> Iterator[None]:
        """While these are read nothing closes them; afterwards those that are not held any more are closed."""
        self._read += files.values()
        try:
            yield
        finally:
            for file, held in files.items():
                self._read.remove(held)
                if self._held.get(file.path) is not held:
                    self._close_unread(held)

    def _close_unread(self, held: HeldFile) -> None:
        if held not in self._read:
            held.close()
