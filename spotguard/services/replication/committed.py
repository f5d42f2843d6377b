"""What the bucket has: the newest generation of each name. A cache of the listing, dropped whenever it may be wrong."""

from __future__ import annotations

from collections.abc import Collection

import structlog

from spotguard.core.checkpoint import Order, stage_of
from spotguard.core.manifest import Manifest, ManifestError
from spotguard.core.manifest_format import decode
from spotguard.core.recovery import newest_relatives
from spotguard.core.run_keys import ManifestKey, RunKeys, newest_first
from spotguard.ports.object_store import ObjectMissing, ObjectStore, StoreError

log = structlog.get_logger()

_UNREAD = object()
_KEEP_READ = 64
"""Manifests that are kept in memory; one of 10,000 files takes megabytes."""


class Committed:
    def __init__(self, store: ObjectStore, keys: RunKeys) -> None:
        self._store = store
        self._keys = keys
        self._newest: dict[str, ManifestKey] | None = None
        self._read: dict[str, Manifest | None] = {}

    @property
    def known(self) -> bool:
        """Whether the bucket has been listed since the last `forget`."""
        return self._newest is not None

    def forget(self) -> None:
        """Ask the bucket again next time. What was read stays: manifests never change."""
        self._newest = None

    async def load(self) -> None:
        """List the manifests unless that was done. Raises StoreError."""
        if self._newest is None:
            self._newest = await self._listed()

    async def vanished(self) -> frozenset[str]:
        """Names whose last commit was known and is not in the bucket any more: somebody deleted it. Raises StoreError."""
        known = dict(self._newest or {})
        listed = await self._listed()
        return frozenset(name for name, key in known.items() if name not in listed or listed[name].generation < key.generation)

    def drop(self, manifests: Collection[str]) -> None:
        """These were given up by ourselves (keys)."""
        self._newest = self._newest and {name: key for name, key in self._newest.items() if key.key not in manifests}

    async def _listed(self) -> dict[str, ManifestKey]:
        parsed = [self._keys.parse_manifest(stored.key) for stored in await self._store.list(self._keys.manifests)]
        newest: dict[str, ManifestKey] = {}
        for key in sorted((key for key in parsed if key is not None), key=lambda key: key.generation):
            newest[key.name] = key
        return newest

    def generation(self, name: str) -> int:
        """Of the last commit of this name; 0 when there is none or the bucket has not been listed."""
        key = (self._newest or {}).get(name)
        return 0 if key is None else key.generation

    @property
    def any(self) -> bool:
        return bool(self._newest)

    def newest(self, stage: str | None = None) -> ManifestKey | None:
        """The newest commit, of all or of one stage."""
        keys = [key for key in (self._newest or {}).values() if stage is None or stage_of(key.name) == stage]
        return newest_first(keys)[0] if keys else None

    def readable(self) -> list[ManifestKey]:
        """The newest commit of each name, but for those that were read and can not be acted on."""
        return [key for key in (self._newest or {}).values() if self._read.get(key.key, _UNREAD) is not None]

    def newest_of_stages(self) -> dict[str, Order]:
        newest: dict[str, Order] = {}
        for key in (self._newest or {}).values():
            stage = stage_of(key.name)
            newest[stage] = max(newest.get(stage, key.order), key.order)
        return newest

    def newest_relatives(self, names: Collection[str]) -> frozenset[str]:
        """Of each kind of checkpoint among these names, the one that was committed last. A kind is what differs in nothing but digits."""
        return newest_relatives(names, list((self._newest or {}).values()))

    async def manifest(self, name: str) -> Manifest | None:
        """The last manifest of this name; None when there is none or it can not be read as one. Raises StoreError."""
        await self.load()
        key = (self._newest or {}).get(name)
        if key is None:
            return None
        if key.key not in self._read:
            try:
                self._remember(key.key, decode(await self._store.read(key.key)))
            except ObjectMissing:
                self._newest = None  # retention took it between the listing and now
                return None
            except ManifestError as error:
                log.warning("manifest.refused", key=key.key, reason=str(error))
                self._remember(key.key, None)
        return self._read[key.key]

    async def relatives(self, name: str) -> tuple[Manifest, ...]:
        """Commits that may have files in common with a checkpoint of this name: the last of the name itself, the newest of its stage,
        and of other stages the newest ones that were read before. At most two requests; a store that fails costs the knowledge only."""
        near = [name]
        if (newest := self.newest(stage_of(name))) is not None:
            near.append(newest.name)
        found: dict[str, Manifest] = {}
        for candidate in near:
            try:
                manifest = await self.manifest(candidate)
            except StoreError as error:
                log.debug("manifest.not_read", name=candidate, error=str(error))
                continue
            if manifest is not None:
                found.setdefault(candidate, manifest)
        for key, read in self._read.items():
            if read is not None and stage_of(read.name) != stage_of(name) and self._is_newest(read.name, key):
                found.setdefault(read.name, read)
        return tuple(found.values())

    def _is_newest(self, name: str, key: str) -> bool:
        newest = self.newest(stage_of(name))
        return newest is not None and newest.key == key

    def add(self, manifest: Manifest, key: str) -> None:
        """A commit of our own."""
        self._remember(key, manifest)
        if self._newest is not None:
            parsed = self._keys.parse_manifest(key)
            if parsed is not None:
                self._newest[manifest.name] = parsed

    def _remember(self, key: str, manifest: Manifest | None) -> None:
        self._read[key] = manifest
        while len(self._read) > _KEEP_READ:
            del self._read[next(iter(self._read))]
