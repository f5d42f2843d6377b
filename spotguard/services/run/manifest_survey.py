"""Reads every manifest of a run, so that it is known which objects must stay.

A look is only as good as its moment: a manifest that is created later is not in it. Who deletes by it must know why that can not hurt
(`spotguard.services.run.janitor` has the argument).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from spotguard.core.garbage import is_of_another_version, keys_mentioned
from spotguard.core.manifest import ManifestError
from spotguard.core.manifest_format import decode
from spotguard.core.run_keys import ManifestKey, RunKeys
from spotguard.ports.object_store import ObjectMissing, ObjectStore, StoreRejected

_READS_AT_ONCE = 8
_KEYS_REMEMBERED = 100_000
"""About 15 MB. A run with more reads its manifests again at each look: a request each, no more."""


@dataclass(frozen=True, slots=True)
class ManifestSurvey:
    """All manifests of a run at one moment."""

    manifests: tuple[ManifestKey, ...]
    names: Mapping[str, frozenset[str]]
    """Manifest key -> the absolute keys of the data that it names. Every manifest is in it, an unreadable one with what it shows."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Manifest key -> why it can not be acted on."""
    foreign: tuple[str, ...] = ()
    """Keys under the manifests' folder that this version does not understand; while there is one, nothing may be deleted."""

    @property
    def named(self) -> frozenset[str]:
        return frozenset().union(*self.names.values())

    @property
    def unreadable_names(self) -> frozenset[str]:
        return frozenset(manifest.name for manifest in self.manifests if manifest.key in self.unreadable)


@dataclass(frozen=True, slots=True)
class _Reading:
    names: frozenset[str]
    why_unreadable: str = ""
    foreign: bool = False


class ManifestSurveyor:
    """Manifests are immutable, so each is read once as long as it is remembered."""

    def __init__(self, store: ObjectStore, keys: RunKeys) -> None:
        self._store = store
        self._keys = keys
        self._known: dict[str, _Reading] = {}

    async def look(self) -> ManifestSurvey:
        """List and read them all. Raises StoreError; one that is gone between the listing and the reading is left out."""
        listed = [stored.key for stored in await self._store.list(self._keys.manifests)]
        parsed = {key: self._keys.parse_manifest(key) for key in listed if not key.endswith("/")}
        manifests = {key: manifest for key, manifest in parsed.items() if manifest is not None}
        readings = {key: self._known[key] for key in manifests if key in self._known}
        await self._read_missing(manifests, readings)
        self._remember(readings)
        foreign = [key for key, manifest in parsed.items() if manifest is None]
        return ManifestSurvey(
            manifests=tuple(manifests[key] for key in readings),
            names={key: reading.names for key, reading in readings.items()},
            unreadable={key: reading.why_unreadable for key, reading in readings.items() if reading.why_unreadable},
            foreign=tuple(sorted(foreign + [key for key, reading in readings.items() if reading.foreign])),
        )

    async def _read_missing(self, manifests: Mapping[str, ManifestKey], readings: dict[str, _Reading]) -> None:
        missing = iter([manifest for key, manifest in manifests.items() if key not in readings])

        async def worker() -> None:
            for manifest in missing:
                try:
                    readings[manifest.key] = await self._read(manifest)
                except ObjectMissing:
                    continue  # deleted meanwhile: it names nothing

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_READS_AT_ONCE):
                    group.create_task(worker())
        except BaseExceptionGroup as failures:
            raise _first(failures) from failures

    async def _read(self, manifest: ManifestKey) -> _Reading:
        try:
            content = await self._store.read(manifest.key)
        except StoreRejected as error:
            return _Reading(frozenset(), f"can not be read: {error}", foreign=True)
        try:
            found = decode(content)
            if found.name != manifest.name:
                raise ManifestError(f"is damaged: it is of {found.name!r} and lies where manifests of {manifest.name!r} do")
        except ManifestError as error:
            mentioned = frozenset(self._keys.absolute(key) for key in keys_mentioned(content))
            return _Reading(mentioned, str(error), is_of_another_version(content))
        return _Reading(frozenset(self._keys.absolute(file.key) for file in found.files))

    def _remember(self, readings: Mapping[str, _Reading]) -> None:
        self._known = {}
        room = _KEYS_REMEMBERED
        for key, reading in readings.items():
            room -= len(reading.names) + 1
            if room < 0:
                return
            self._known[key] = reading


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """One failure stands for all that the same moment brought."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
