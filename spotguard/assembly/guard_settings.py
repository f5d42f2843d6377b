"""What the configuration means to the daemon's life."""

from __future__ import annotations

import os
import resource

from spotguard import __version__
from spotguard.assembly.settings import run_keys
from spotguard.config.models import Config
from spotguard.core.deadline import InterruptionPolicy
from spotguard.core.manifest import Host
from spotguard.core.retention import RetentionRule
from spotguard.supervisor.settings import GuardSettings


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
