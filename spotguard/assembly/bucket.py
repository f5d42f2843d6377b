"""Puts the setting up of a bucket together."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.bucket_admin import S3BucketAdmin
from spotguard.assembly.settings import run_keys, s3_settings
from spotguard.config.models import Config
from spotguard.core.bucket_settings import BucketWish
from spotguard.core.iam_policy import Purpose, partition_of, policy_for
from spotguard.services.run.bucket_setup import BucketSetup


@asynccontextmanager
async def bucket_setup(config: Config, *, noncurrent_days: int | None) -> AsyncIterator[BucketSetup]:
    """Raises StoreError where there are no credentials."""
    access = S3Access(s3_settings(config))
    try:
        await access.identify()
        region = await asyncio.to_thread(access.known_region)
        keys = run_keys(config)
        wish = BucketWish(
            bucket=keys.bucket,
            prefix=keys.prefix,
            scope=keys.root,
            sse=config.destination.sse,
            kms_key_id=config.destination.kms_key_id,
            noncurrent_days=noncurrent_days,
            partition=partition_of(region),
        )
        command = _create_command(config, noncurrent_days)
        yield BucketSetup(S3BucketAdmin(access), wish, region_named=region or "a region that is not set yet", create_command=command)
    finally:
        await asyncio.to_thread(access.close)


def bucket_policy(config: Config, purpose: Purpose) -> dict[str, Any]:
    """The least policy for a run. Asks nobody."""
    destination = config.destination
    return policy_for(purpose, run_keys(config), partition=partition_of(destination.region), kms_key_id=destination.kms_key_id)


def _create_command(config: Config, noncurrent_days: int | None) -> str:
    destination = config.destination
    settings = {"region": destination.region, "endpoint_url": destination.endpoint_url, "sse": destination.sse}
    settings["kms_key_id"] = destination.kms_key_id
    told = "".join(f" --set destination.{name}={shlex.quote(value)}" for name, value in settings.items() if value)
    days = "" if noncurrent_days is None else f" --noncurrent-days {noncurrent_days}"
    return f"spotguard bucket create --url {shlex.quote(destination.url)}{told}{days}"
