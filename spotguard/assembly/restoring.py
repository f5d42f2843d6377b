"""Puts the way back together: restore, resume, list and verify over real adapters."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from spotguard.adapters.disk.placement import LocalPlacement
from spotguard.adapters.disk.volume import LocalVolume
from spotguard.adapters.processes.writer_watch import ProcWriterWatch
from spotguard.adapters.s3.connection import connect
from spotguard.adapters.s3.retrying import RetryingStore, RetryingTransfer
from spotguard.adapters.system_clock import SystemClock
from spotguard.assembly.metadata import instance_id, metadata_service
from spotguard.assembly.settings import run_keys, s3_settings, this_host
from spotguard.config.models import Config
from spotguard.core.backoff import RetryPolicy
from spotguard.core.checkpoint import stage_of
from spotguard.core.manifest import Host, Manifest, ManifestError
from spotguard.core.run_keys import ManifestKey, RunKeys, newest_first
from spotguard.core.world_size import mismatch, processes_started
from spotguard.ports.bulk_fetch import BulkFetch
from spotguard.ports.metadata_service import MetadataService
from spotguard.ports.object_store import ObjectStore
from spotguard.ports.part_transfer import PartTransfer
from spotguard.ports.progress import ProgressSink
from spotguard.services.restore.catalogue import Catalogue
from spotguard.services.restore.restore_outcome import RestoreOutcome
from spotguard.services.restore.restorer import RestorePorts, Restorer, RestoreSettings
from spotguard.services.restore.resumption import Handover, Say, finished_note, pending_notice

if TYPE_CHECKING:
    from spotguard.services.restore.verifier import VerifyOutcome

_MANIFESTS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Listed:
    """One committed name with its newest generation."""

    key: ManifestKey
    manifest: Manifest | None
    why_unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """All that the run keeps in the bucket: every commit, loose files and records, but no noncurrent versions."""

    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class WayBack:
    """One open connection to a run, for the commands that bring back. All raise StoreError."""

    config: Config
    keys: RunKeys
    store: ObjectStore
    transfer: PartTransfer
    bulk: BulkFetch
    metadata: MetadataService | None
    host: Host
    clock: SystemClock

    async def restore(
        self,
        name: str | None,
        *,
        stage: str | None,
        to: str | None,
        patient: bool,
        progress: ProgressSink,
        say: Say,
        command: Sequence[str] = (),
    ) -> RestoreOutcome:
        """See `Restorer.restore`; `to`: absolute, the watch root if None; `patient`: see `Handover.wait`; `command`: what trains on."""
        await Handover(self.store, self.keys, self.clock, self.host).wait(patient=patient, say=say)
        root = to or str(self.config.watch.dir)
        watch = ProcWriterWatch()
        try:
            ports = RestorePorts(
                store=self.store,
                transfer=self.transfer,
                bulk=self.bulk,
                placement=LocalPlacement(root),
                volume=LocalVolume(root, exclude=self.config.watch.exclude, follow_links=self.config.watch.follow_links),
                writer_watch=watch,
                clock=self.clock,
            )
            settings = RestoreSettings(
                host=self.host,
                layout=self.config.watch.layout,
                settle_seconds=self.config.watch.settle_seconds,
                part_bytes=self.config.upload.part_size_bytes,
                concurrency=self.config.upload.concurrency,
            )
            outcome = await Restorer(ports, self.keys, settings, progress).restore(name, stage=stage)
        finally:
            watch.close()
        warning = mismatch(outcome.name, outcome.world_size, processes_started(command, os.environ))
        return outcome if warning is None else replace(outcome, warnings=(*outcome.warnings, warning))

    async def list(self, stage: str | None) -> list[Listed]:
        """Every committed name (of a stage) with its newest generation, the newest first."""
        catalogue = Catalogue(self.store, self.keys)
        listed = [key for key in await catalogue.list_manifests() if stage is None or stage_of(key.name) == stage]
        newest = {key.name: key for key in sorted(listed, key=lambda key: key.generation)}
        limit = asyncio.Semaphore(_MANIFESTS_AT_ONCE)

        async def read(key: ManifestKey) -> Listed:
            async with limit:
                try:
                    return Listed(key, await catalogue.read_manifest(key))
                except ManifestError as error:
                    return Listed(key, None, str(error))

        return list(await asyncio.gather(*(read(key) for key in newest_first(list(newest.values())))))

    async def stored(self) -> Stored:
        """One request per 1,000 objects."""
        sizes = [found.size for found in await self.store.list(self.keys.root)]
        return Stored(len(sizes), sum(sizes))

    async def verify(self, name: str | None, progress: ProgressSink) -> VerifyOutcome:
        """See `Verifier.verify`."""
        from spotguard.adapters.disk.null_destination import NullDestination  # of no use to a restore, as its service
        from spotguard.services.restore.verifier import Verifier

        verifier = Verifier(
            self.store,
            self.transfer,
            self.keys,
            NullDestination(),
            part_bytes=self.config.upload.part_size_bytes,
            concurrency=self.config.upload.concurrency,
            progress=progress,
            bulk=self.bulk,
        )
        return await verifier.verify(name)

    async def finished(self) -> str | None:
        """See `finished_note`."""
        return await finished_note(self.store, self.keys)

    async def notice(self) -> str | None:
        """See `pending_notice`."""
        drains = self.config.interruption.on_rebalance == "drain"
        return await pending_notice(self.metadata, rebalance_drains=drains)


@asynccontextmanager
async def way_back(config: Config, *, asks_metadata: bool = False) -> AsyncIterator[WayBack]:
    """Connect to the run of the configuration. `asks_metadata`: who we are and whether we go is of interest."""
    async with connect(s3_settings(config)) as connection:
        store = RetryingStore(connection.store, RetryPolicy(), _no_deadline)
        transfer = RetryingTransfer(connection.transfer, connection.store, RetryPolicy(attempts=10), _no_deadline)
        if not asks_metadata:
            yield WayBack(config, run_keys(config), store, transfer, connection.bulk, None, this_host(), SystemClock())
            return
        async with metadata_service(config) as metadata:
            host = this_host(await instance_id(metadata))
            yield WayBack(config, run_keys(config), store, transfer, connection.bulk, metadata, host, SystemClock())


def _no_deadline() -> None:
    return None
