"""Opens the way to a bucket: both ports over it, with one set of credentials, and closes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from spotguard.adapters.s3.access import STALL_SECONDS, S3Access
from spotguard.adapters.s3.copies import S3Copies
from spotguard.adapters.s3.multipart import PATIENT_SECONDS
from spotguard.adapters.s3.settings import S3Settings
from spotguard.adapters.s3.store import S3ObjectStore
from spotguard.adapters.s3.transfer import HttpPartTransfer
from spotguard.ports.bulk_fetch import BulkFetch
from spotguard.ports.bulk_send import BulkSend
from spotguard.ports.object_store import ObjectStore, StoreDenied, StoreUnavailable
from spotguard.ports.part_transfer import PartTransfer
from spotguard.ports.stored_content import StoredContent

__all__ = ["Connection", "S3Settings", "connect"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    store: ObjectStore
    transfer: PartTransfer
    bulk: BulkFetch
    bulk_send: BulkSend
    stored: StoredContent


@asynccontextmanager
async def connect(
    settings: S3Settings, *, check: bool = True, stall_seconds: float = STALL_SECONDS, patient_seconds: float = PATIENT_SECONDS
) -> AsyncIterator[Connection]:
    """All ports on the bucket, each verb one attempt (see `spotguard.adapters.s3.retrying`).

    With `check`, the bucket is asked for once: raises StoreDenied without credentials, BucketMissing. Not for a store that does not
    answer, and not for a plain denial, since a policy may bind ListBucket to a prefix: the first request tells. Without
    `check` nothing is asked, and the same errors come with the first request; so a daemon can start while all is down.

    On leaving, connections are closed and threads end; requests must have ended before."""
    access = S3Access(settings, stall_seconds=stall_seconds)
    transfer = HttpPartTransfer(access, stall_seconds=stall_seconds, patient_seconds=patient_seconds)
    try:
        if check:
            await _check(access)
        yield Connection(S3ObjectStore(access), transfer, transfer.bulk, transfer.bulk_send, S3Copies(access))
    finally:
        await transfer.close()
        await asyncio.to_thread(access.close)


async def _check(access: S3Access) -> None:
    await access.identify()
    try:
        await access.check_bucket()
    except StoreUnavailable as error:
        _log.warning("store.not_reached", bucket=access.settings.bucket, error=str(error), fix=error.fix)
    except StoreDenied as error:
        _log.debug("store.bucket_check_denied", bucket=access.settings.bucket, error=str(error))
