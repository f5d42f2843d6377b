"""What the configuration means to adapters and services."""

from __future__ import annotations

import os
import resource
import socket

from spotguard import __version__
from spotguard.adapters.s3_settings import S3Settings
from spotguard.config.models import Config
from spotguard.core.deadline import InterruptionPolicy
from spotguard.core.manifest import Host
from spotguard.core.retention import RetentionRule
from spotguard.core.run_keys import RunKeys
from spotguard.supervisor.settings import GuardSettings


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


def guard_settings(config: Config, host: Host) -> GuardSettings:
    return GuardSettings(
        keys=run_keys(config),
        host=host,
        version=__version__,
        pid=os.getpid(),
        watch_dir=str(config.watch.dir),
        layout=config.watch.layout,
        settle_seconds=config.watch.settle_seconds,
        loose_seconds=config.watch.loose_seconds,
        rescan_seconds=config.watch.rescan_seconds,
        part_bytes=config.upload.part_size_bytes,
        concurrency=config.upload.concurrency,
        bytes_per_second=config.upload.max_bytes_per_second,
        held_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2,
        poll_seconds=config.imds.poll_seconds,
        policy=InterruptionPolicy(
            margin_seconds=config.interruption.margin_seconds,
            on_rebalance=config.interruption.on_rebalance,
            scale_in_seconds=config.interruption.scale_in_seconds,
        ),
        signal=config.trainer.signal,
        signal_when=config.trainer.signal_when,
        checkpoint_signal=config.trainer.checkpoint_signal,
        notice_file=config.trainer.notice_file is not None,
        retention=RetentionRule(config.destination.keep_last, config.destination.keep_every, config.destination.keep_days),
        shutdown_grace_seconds=config.interruption.shutdown_grace_seconds,
        writes=config.node.rank == 0,
    )
