"""Whether there is a metadata service to ask on this machine, and who it says we are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from spotguard.adapters.instance.dmi import on_ec2
from spotguard.config.models import Config
from spotguard.ports.metadata_service import MetadataService, MetadataUnavailable

log = structlog.get_logger()

_IDENTITY_SECONDS = 3.0


@asynccontextmanager
async def metadata_service(config: Config) -> AsyncIterator[MetadataService | None]:
    """The service if it is required, on EC2 or because somebody set its endpoint; else None."""
    mode = config.imds.stated_mode
    if mode == "auto":
        mode = "required" if on_ec2() else "off"
        if mode == "off":
            log.info("metadata_service.off", reason="this is no EC2 instance (DMI): set imds.mode or imds.endpoint to change that")
    if mode == "off":
        yield None
        return
    from spotguard.adapters.instance.imds import Imds  # aiohttp: only where there is a service

    async with Imds(config.imds.endpoint) as imds:
        yield imds


async def instance_id(metadata: MetadataService | None) -> str | None:
    """Who we are decides whose claims are ours; a service that does not answer holds nothing up."""
    if metadata is None:
        return None
    try:
        return (await asyncio.wait_for(metadata.identity(), _IDENTITY_SECONDS)).id
    except (MetadataUnavailable, TimeoutError):
        return None
