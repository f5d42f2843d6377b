"""What the configuration means to adapters and services."""

from __future__ import annotations

import socket

from spotguard.adapters.s3.settings import S3Settings
from spotguard.config.models import Config
from spotguard.core.manifest import Host
from spotguard.core.run_keys import RunKeys


def run_keys(config: Config) -> RunKeys:
    return RunKeys(config.destination.bucket, config.destination.prefix)


def s3_settings(config: Config) -> S3Settings:
    destination = config.destination
    return S3Settings(
        bucket=destination.bucket,
        region=destination.region,
        endpoint_url=destination.endpoint_url,
        storage_class=destination.storage_class,
        sse=destination.sse,
        kms_key_id=destination.kms_key_id,
        metadata_endpoint=config.imds.endpoint if config.imds.endpoint_is_set else None,
        connections=config.upload.concurrency,
    )


def this_host(instance_id: str | None = None) -> Host:
    return Host(socket.gethostname(), instance_id)
