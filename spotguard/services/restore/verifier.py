"""Re-reads committed checkpoints and checks every byte, the newest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from spotguard.core.manifest import Manifest, ManifestError
from spotguard.core.run_keys import ManifestKey, RunKeys
from spotguard.ports.bulk_fetch import BulkFetch
from spotguard.ports.object_store import ObjectStore
from spotguard.ports.part_transfer import PartTransfer
from spotguard.ports.progress import ProgressSink, SilentProgress
from spotguard.services.restore.catalogue import Catalogue
from spotguard.services.restore.part_fetcher import Destination, Fetch, PartFetcher
from spotguard.services.restore.recovery_errors import NothingToRestore
from spotguard.services.restore.uncommitted import named


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong."""

    name: str
    generation: int
    reason: str
    """Names the object."""


@dataclass(frozen=True, slots=True)
class Verified:
    """One commit that was looked at."""

    name: str
    generation: int
    files: int
    bytes: int
    sound: bool


@dataclass(frozen=True, slots=True)
class VerifyOutcome:
    checkpoints: tuple[Verified, ...]
    damages: tuple[Damage, ...]
    bytes_read: int
    """An object that several commits share is read once."""


class Verifier:
    def __init__(
        self,
        store: ObjectStore,
        transfer: PartTransfer,
        keys: RunKeys,
        nowhere: Destination,
        *,
        part_bytes: int,
        concurrency: int,
        progress: ProgressSink | None = None,
        bulk: BulkFetch | None = None,
    ) -> None:
        """`nowhere`: where bytes go that are only looked at."""
        self._keys = keys
        self._catalogue = Catalogue(store, keys)
        self._fetcher = PartFetcher(transfer, part_bytes=part_bytes, concurrency=concurrency, bulk=bulk)
        self._nowhere = nowhere
        self._progress = progress or SilentProgress()

    async def verify(self, name: str | None = None) -> VerifyOutcome:
        """Check all commits, or those of one name. Nothing committed at all is nothing damaged.

        Raises NothingToRestore for a name that was never committed; StoreError."""
        listed = await self._catalogue.list_manifests()
        wanted = [key for key in listed if name is None or key.name == name]
        if name is not None and not wanted:
            names = sorted({key.name for key in listed}, reverse=True)
            has = f"it has {named(names, at_most=5)}" if names else "it has none"
            raise NothingToRestore(f"{self._keys.url} has no committed checkpoint {name}; {has}")
        damages: list[Damage] = []
        looked_at: list[Verified] = []
        sound: set[Fetch] = set()
        bad: dict[Fetch, str] = {}
        for key in wanted:
            try:
                manifest = await self._catalogue.read_manifest(key)
            except ManifestError as error:
                damages.append(Damage(key.name, key.generation, str(error)))
                looked_at.append(Verified(key.name, key.generation, 0, 0, sound=False))
                continue
            found = [Damage(key.name, key.generation, reason) for reason in await self._damages_of(manifest, key, sound, bad)]
            damages += found
            looked_at.append(Verified(key.name, key.generation, len(manifest.files), manifest.total_bytes, sound=not found))
        return VerifyOutcome(tuple(looked_at), tuple(damages), sum(fetch.size for fetch in sound))

    async def _damages_of(self, manifest: Manifest, key: ManifestKey, sound: set[Fetch], bad: dict[Fetch, str]) -> list[str]:
        """What is wrong with one commit; remembers what was read, so that shared objects are read once."""
        objects = list(dict.fromkeys(_objects(manifest, self._keys)))
        reasons = [bad[fetch] for fetch in objects if fetch in bad]
        unread = [fetch for fetch in objects if fetch not in sound and fetch not in bad]
        absent = await self._catalogue.absent_objects(manifest)
        for fetch in unread:
            if fetch.key in absent:
                bad[fetch] = absent[fetch.key]
                reasons.append(absent[fetch.key])
        unread = [fetch for fetch in unread if fetch not in bad]
        self._progress.start(sum(fetch.size for fetch in unread), f"verifying {key.name}")
        try:
            damaged = await self._fetcher.fetch(unread, self._nowhere, self._progress, durable=False, go_on=True)
        finally:
            self._progress.done()
        told = {damage.path: str(damage) for damage in damaged}
        for fetch in unread:
            if fetch.path in told:
                bad[fetch] = told[fetch.path]
                reasons.append(told[fetch.path])
            else:
                sound.add(fetch)
        return reasons


def _objects(manifest: Manifest, keys: RunKeys) -> Iterator[Fetch]:
    for file in manifest.files:
        yield Fetch(file.key, keys.absolute(file.key), file.size, file.crc64nvme)
