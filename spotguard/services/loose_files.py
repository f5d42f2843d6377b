"""Mirrors the loose files: what lies under the root and belongs to no checkpoint. Last write wins, but never over what is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from spotguard.core.checkpoint import LocalFile
from spotguard.core.checksum import encode_crc64
from spotguard.core.loose import LooseFile, decode_index, encode_index, is_due
from spotguard.core.manifest import ManifestError
from spotguard.core.run_keys import LOOSE
from spotguard.ports.checkpoint_volume import CannotRead
from spotguard.ports.object_store import ObjectExists, ObjectMissing
from spotguard.ports.part_transfer import FileShrank
from spotguard.services.checkpoint_upload import UploadTools
from spotguard.services.errand import ChangedWhileSending, Errand, Placed
from spotguard.services.part_engine import first_of

log = structlog.get_logger()

_AT_ONCE = 8
_LAST_IN_LINE = (1_000_000,)
_UNREADABLE_REST_SECONDS = 60.0
_CHANGING_REST_SECONDS = 2.0


class LooseFiles:
    def __init__(self, tools: UploadTools, *, loose_seconds: float) -> None:
        self._tools = tools
        self._loose_seconds = loose_seconds
        self._index: dict[str, LooseFile] | None = None
        self._sent_at: dict[str, float] = {}
        self._unreadable: set[str] = set()
        self._resting: dict[str, float] = {}
        """Until when (monotonic) one that could not be sent is left alone."""

    def due(self, files: Mapping[str, LocalFile], *, urgent: bool) -> list[LocalFile]:
        """What must be sent now, oldest change first. Everything, before the index of the bucket is known."""
        now = self._tools.clock.monotonic()
        index = self._index or {}
        self._forget_the_gone(files)

        def wanted(file: LocalFile) -> bool:
            sent_at = self._sent_at.get(file.path)
            sent_ago = None if sent_at is None else now - sent_at
            return is_due(file.stat, index.get(file.path), sent_ago=sent_ago, loose_seconds=self._loose_seconds, urgent=urgent)

        awake = (file for file in files.values() if self._resting.get(file.path, now) <= now)
        return sorted((file for file in awake if wanted(file)), key=lambda file: file.stat.mtime_ns)

    async def send(self, files: list[LocalFile]) -> None:
        """Send these and then the index. Files that vanish or may not be read are left out with one line each. Raises StoreError."""
        index = await self._known()
        before = dict(index)
        waiting = iter(files)

        async def worker() -> None:
            for file in waiting:
                await self._send_one(file, index)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(worker())
        except BaseExceptionGroup as failures:
            raise first_of(failures) from failures
        finally:
            self._index = index
        if index != before:
            await self._tools.store.replace(self._tools.keys.loose_index, encode_index(index.values()), metadata=self._metadata())

    async def _known(self) -> dict[str, LooseFile]:
        if self._index is None:
            try:
                self._index = dict(decode_index(await self._tools.store.read(self._tools.keys.loose_index)))
            except ObjectMissing:
                self._index = {}
            except ManifestError as error:
                log.error("loose_index.refused", key=self._tools.keys.loose_index, reason=str(error), instead="it is written anew")
                self._index = {}
        return self._index

    async def _send_one(self, file: LocalFile, index: dict[str, LooseFile]) -> None:
        known = index.get(file.path)
        if known is not None and (known.size, known.mtime_ns) == (file.stat.size, file.stat.mtime_ns):
            return
        await self._tools.until_telling(file.stat)
        try:
            held = await self._tools.volume.hold(file.source)
        except FileNotFoundError:
            self._rest(file, _CHANGING_REST_SECONDS)
            return
        except CannotRead as error:
            self._rest(file, _UNREADABLE_REST_SECONDS)
            if file.path not in self._unreadable:
                self._unreadable.add(file.path)
                log.warning("loose.skipped", path=file.path, reason=str(error))
            return
        try:
            size = held.stat.size
            sent = await self._place(file.path, known, Errand(held, size, "", self._metadata(), lambda: _LAST_IN_LINE, may_grow=True))
        except (FileShrank, ChangedWhileSending):
            self._rest(file, _CHANGING_REST_SECONDS)
            return  # it is being rewritten: the next scan sees another stat and it is due again
        finally:
            held.close()
        key = self._tools.keys.relative(sent.key)
        key = file.path if key == file.path else key  # one text in memory, of a hundred thousand files
        index[file.path] = LooseFile(file.path, key, sent.size, encode_crc64(sent.crc64nvme), held.stat.mode, held.stat.mtime_ns)
        self._sent_at[file.path] = self._tools.clock.monotonic()

    def _rest(self, file: LocalFile, seconds: float) -> None:
        self._resting[file.path] = self._tools.clock.monotonic() + seconds

    def _forget_the_gone(self, files: Mapping[str, LocalFile]) -> None:
        for known in (self._sent_at, self._resting):
            for path in [path for path in known if path not in files]:
                del known[path]
        self._unreadable &= files.keys()

    async def _place(self, path: str, known: LooseFile | None, errand: Errand) -> Placed:
        """Overwrite our own earlier copy; a key that somebody else wrote is left alone and the next `@n` is taken."""
        if known is not None:
            return await self._tools.engine.send(_to(errand, self._tools.keys.absolute(known.key), only_new=False))
        version = 1
        while True:
            key = self._tools.keys.loose(path, version=version)
            try:
                return await self._tools.engine.send(_to(errand, key, only_new=True))
            except ObjectExists:
                if await self._is_ours(key):
                    return await self._tools.engine.send(_to(errand, key, only_new=False))
                version += 1

    async def _is_ours(self, key: str) -> bool:
        facts = await self._tools.store.head(key)
        return all(facts.metadata.get(name) == value for name, value in self._metadata().items())

    def _metadata(self) -> dict[str, str]:
        return self._tools.keys.metadata(LOOSE)


def _to(errand: Errand, key: str, *, only_new: bool) -> Errand:
    return Errand(errand.held, errand.size, key, errand.metadata, errand.rank, only_new=only_new, may_grow=True)
