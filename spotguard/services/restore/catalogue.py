"""What is committed: one listing of the manifests, then those that are wanted, one request each."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

from spotguard.core.checkpoint import Unit
from spotguard.core.manifest import Manifest, ManifestError
from spotguard.core.manifest_format import decode
from spotguard.core.run_keys import ManifestKey, RunKeys, newest_first
from spotguard.ports.object_store import ObjectMissing, ObjectStore, StoreRejected

_AT_ONCE = 8
_HEAD_RATHER_THAN_LIST = 4


class Catalogue:
    def __init__(self, store: ObjectStore, keys: RunKeys) -> None:
        self._store = store
        self._keys = keys
        self._read: dict[str, Manifest] = {}

    async def list_manifests(self) -> list[ManifestKey]:
        """Every commit, the newest first. Raises StoreError: an empty answer means that there is none, never that we may not look."""
        listed = await self._store.list(self._keys.manifests)
        return newest_first([parsed for stored in listed if (parsed := self._keys.parse_manifest(stored.key)) is not None])

    async def read_manifest(self, key: ManifestKey) -> Manifest:
        """The manifest at that key; each is read once, as they never change.

        Raises ManifestError, naming the key, for what may not be acted on, and for one that is gone; StoreError."""
        if key.key not in self._read:
            try:
                manifest = decode(await self._store.read(key.key))
                _refuse_misplaced(manifest, key)
            except ManifestError as error:
                raise ManifestError(f"the manifest {self._keys.relative(key.key)} {error}") from error
            except (ObjectMissing, StoreRejected) as error:
                raise ManifestError(f"the manifest {self._keys.relative(key.key)} can not be read: {error}") from error
            self._read[key.key] = manifest
        return self._read[key.key]

    async def last_commits(self, listed: Sequence[ManifestKey], names: Collection[str]) -> Mapping[str, Manifest]:
        """The newest generation of each of these names that can be read; a name without one is left out."""
        latest = {key.name: key for key in sorted(listed, key=lambda key: key.generation) if key.name in names}
        limit = asyncio.Semaphore(_AT_ONCE)

        async def read(key: ManifestKey) -> Manifest | None:
            async with limit:
                try:
                    return await self.read_manifest(key)
                except ManifestError:
                    return None  # whoever tries to restore it says why

        found = await asyncio.gather(*(read(key) for key in latest.values()))
        return {manifest.name: manifest for manifest in found if manifest is not None}

    async def absent_objects(self, manifest: Manifest) -> Mapping[str, str]:
        """The objects of a commit that are gone or have another size: key -> what is wrong, in the manifest's order.

        One listing of the checkpoint's own place; what a commit shares with an earlier one is asked for apart."""
        wanted = {self._keys.absolute(file.key): file.size for file in manifest.files}
        place = self._keys.absolute(manifest.name) + ("/" if manifest.unit is Unit.DIRECTORY else "")
        sizes = {stored.key: stored.size for stored in await self._store.list(place)}
        elsewhere = sorted(key for key in wanted if key not in sizes and not key.startswith(place))
        for folder, group in groupby(elsewhere, key=lambda key: key.rpartition("/")[0]):
            sizes.update(await self._sizes(folder, list(group)))
        wrong = {}
        for key, size in wanted.items():
            if key not in sizes:
                wrong[key] = f"the object {key} is missing"
            elif sizes[key] != size:
                wrong[key] = f"the object {key} has {sizes[key]} bytes, not {size}"
        return wrong

    async def _sizes(self, folder: str, keys: Sequence[str]) -> Mapping[str, int]:
        if folder != self._keys.prefix and len(keys) > _HEAD_RATHER_THAN_LIST:
            return {stored.key: stored.size for stored in await self._store.list(f"{folder}/")}
        sizes = {}
        for key in keys:
            try:
                sizes[key] = (await self._store.head(key)).size
            except ObjectMissing:
                continue
        return sizes


def _refuse_misplaced(manifest: Manifest, key: ManifestKey) -> None:
    """A manifest speaks only for the name, generation and time that its key has: these decided that it was read."""
    if (manifest.name, manifest.generation, int(manifest.saved_at.timestamp())) != (key.name, key.generation, key.saved_at):
        raise ManifestError(f"is refused: it is of {manifest.name} generation {manifest.generation}, which its key does not say")
    for path in (manifest.name, *(companion.path for companion in manifest.companions)):
        if any(part.startswith(".spotguard") for part in path.split("/")):
            raise ManifestError(f"is refused: {path!r} is no place for a checkpoint or what belongs to it")
