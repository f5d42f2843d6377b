"""Puts `adopt` together."""

from __future__ import annotations

from datetime import timedelta

from spotguard.adapters.disk.exclusion import Exclusion
from spotguard.adapters.disk.null_destination import NullDestination
from spotguard.adapters.s3.connection import connect
from spotguard.adapters.s3.retrying import RetryingStore, RetryingTransfer
from spotguard.adapters.structure.object_inspector import RangedObjectInspector
from spotguard.adapters.system_clock import SystemClock
from spotguard.assembly.metadata import instance_id, metadata_service
from spotguard.assembly.settings import run_keys, s3_settings, this_host
from spotguard.assembly.syncing import RunIsBusy
from spotguard.config.models import Config
from spotguard.core.backoff import RetryPolicy
from spotguard.ports.progress import ProgressSink
from spotguard.services.adoption.adoption import Adoption, AdoptOutcome
from spotguard.services.adoption.object_sums import ObjectSums
from spotguard.services.run.earlier_claims import claimed_elsewhere
from spotguard.services.run.run_checks import refuse_nested


async def run_adopt(config: Config, name: str | None, progress: ProgressSink) -> AdoptOutcome:
    """See `Adoption.adopt`. Raises NestedRun, RunIsBusy, NothingToRestore, StoreError."""
    keys, clock = run_keys(config), SystemClock()
    async with connect(s3_settings(config)) as connection, metadata_service(config) as metadata:
        store = RetryingStore(connection.store, RetryPolicy(), lambda: None)
        transfer = RetryingTransfer(connection.transfer, connection.store, RetryPolicy(), lambda: None)
        await refuse_nested(store, keys)
        host = this_host(await instance_id(metadata))
        now = clock.wall() + timedelta(seconds=store.clock_offset() or 0.0)
        if (busy := await claimed_elsewhere(store, keys, host=host, now=now)) is not None:
            raise RunIsBusy(f"{busy}: stop its daemon first, or wait until it has released the run")
        sums = ObjectSums(
            store,
            transfer,
            keys,
            NullDestination(),
            progress,
            part_bytes=config.upload.part_size_bytes,
            concurrency=config.upload.concurrency,
        )
        adoption = Adoption(
            store,
            RangedObjectInspector(transfer),
            sums,
            keys,
            clock,
            host,
            layout=config.watch.layout,
            settle_seconds=config.watch.settle_seconds,
            leaves_out=Exclusion(config.watch.exclude).leaves_out,
        )
        return await adoption.adopt(name)
