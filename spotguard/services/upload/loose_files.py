"""Mirrors the loose files: what lies under the root and belongs to no checkpoint. Last write wins, but never over what is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from spotguard.core.checkpoint import LocalFile
from spotguard.core.checksum import encode_crc64
from spotguard.core.loose import LooseFile, decode_index, encode_index
from spotguard.core.loose_index import LooseIndex
from spotguard.core.loose_survey import LooseKnowledge, LooseSurvey, still_due
from spotguard.core.manifest import ManifestError
from spotguard.core.run_keys import LOOSE
from spotguard.ports.checkpoint_volume import CannotRead
from spotguard.ports.object_store import ObjectExists, ObjectMissing
from spotguard.ports.part_transfer import FileShrank
from spotguard.services.upload.checkpoint_upload import UploadTools
from spotguard.services.upload.errand import ChangedWhileSending, Errand, Placed
from spotguard.services.upload.part_engine import first_of

log = structlog.get_logger()

_AT_ONCE = 8
_LAST_IN_LINE = (1_000_000,)
_ENTRY_BYTES = 150
"""Of a file in the index, about."""
_UNREADABLE_REST_SECONDS = 60.0
_CHANGING_REST_SECONDS = 2.0


class LooseFiles:
    def __init__(self, tools: UploadTools, *, loose_seconds: float) -> None:
        self._tools = tools
        self._loose_seconds = loose_seconds
        self._index: LooseIndex | None = None
        self._index_is_written = True
        self._settled: Mapping[str, object] = {}
        """As the survey before has found."""
        self._unreadable: set[str] = set()
        self._resting: dict[str, float] = {}
        """Until when (monotonic) one that could not be sent is left alone."""

    def knowledge(self, *, urgent: bool) -> LooseKnowledge:
        """What a survey needs to know; it stays as it is, but for the index, which is told of what is sent meanwhile."""
        now = self._tools.clock.monotonic()
        return LooseKnowledge(self._index, self._settled, dict(self._resting), now, self._loose_seconds, urgent)

    def learn(self, found: LooseSurvey) -> None:
        """What a survey has found."""
        self._settled = found.settled
        for path, until in found.known.resting.items():
            if path not in found.changed:
                self._unreadable.discard(path)
                if self._resting.get(path) == until:  # else it could not be sent once more meanwhile
                    del self._resting[path]

    @property
    def owes_index(self) -> bool:
        """Whether files were sent that the index in the bucket does not name yet."""
        return not self._index_is_written

    async def send(self, found: LooseSurvey) -> None:
        """Send what is due and then the index. Files that vanish or may not be read are left out with one line each. Raises StoreError."""
        index = await self._known()
        known = self.knowledge(urgent=found.urgent)
        waiting = iter(await self._tools.offload(len(found.due), lambda: still_due(found.due, known)))

        async def worker() -> None:
            for file, known in waiting:
                await self._send_one(file, known, index)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(worker())
        except BaseExceptionGroup as failures:
            raise first_of(failures) from failures
        if self.owes_index:
            content = await self._tools.offload(len(index), lambda: encode_index(index.files()))  # nothing else is sent meanwhile
            await self._tools.store.replace(self._tools.keys.loose_index, content, metadata=self._metadata())
            self._index_is_written = True

    async def _known(self) -> LooseIndex:
        if self._index is None:
            try:
                content = await self._tools.store.read(self._tools.keys.loose_index)
                self._index = await self._tools.offload(len(content) // _ENTRY_BYTES, lambda: LooseIndex(decode_index(content).values()))
            except ObjectMissing:
                self._index = LooseIndex()
            except ManifestError as error:
                log.error("loose_index.refused", key=self._tools.keys.loose_index, reason=str(error), instead="it is written anew")
                self._index = LooseIndex()
        return self._index

    async def _send_one(self, file: LocalFile, known: LooseFile | None, index: LooseIndex) -> None:
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
            placed = await self._place(file.path, known, Errand(held, size, "", self._metadata(), lambda: _LAST_IN_LINE, may_grow=True))
        except (FileShrank, ChangedWhileSending):
            self._rest(file, _CHANGING_REST_SECONDS)
            return  # it is being rewritten: the next scan sees another stat and it is due again
        finally:
            held.close()
        key = self._tools.keys.relative(placed.key)
        entry = LooseFile(file.path, key, placed.size, encode_crc64(placed.crc64nvme), held.stat.mode, held.stat.mtime_ns)
        index.put(entry, self._tools.clock.monotonic())
        self._index_is_written = False

    def _rest(self, file: LocalFile, seconds: float) -> None:
        self._resting[file.path] = self._tools.clock.monotonic() + seconds

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
