"""Connects to one bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from spotguard.adapters.crt import CrtPartTransfer
from spotguard.adapters.s3 import S3ObjectStore
from spotguard.adapters.s3_access import S3Access
from spotguard.adapters.s3_settings import S3Settings
from spotguard.ports.object_store import ObjectStore
from spotguard.ports.part_transfer import PartTransfer


@dataclass(frozen=True, slots=True)
class Connection:
    store: ObjectStore
    transfer: PartTransfer


@asynccontextmanager
async def connect(settings: S3Settings) -> AsyncIterator[Connection]:
    access = S3Access(settings)
    try:
        yield Connection(S3ObjectStore(access), CrtPartTransfer(access))
    finally:
        access.close()
