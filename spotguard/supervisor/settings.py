"""What the operator configured, as the services of a daemon take it. It loads none of them: a restore asks for it too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spotguard.core.deadline import InterruptionPolicy
from spotguard.core.manifest import Host
from spotguard.core.retention import RetentionRule
from spotguard.core.run_keys import RunKeys


@dataclass(frozen=True, slots=True)
class GuardSettings:
    keys: RunKeys
    host: Host
    version: str
    pid: int
    watch_dir: str
    layout: str = "auto"
    settle_seconds: float = 10.0
    loose_seconds: float = 60.0
    rescan_seconds: float = 30.0
    part_bytes: int = 16 << 20
    concurrency: int = 8
    bytes_per_second: float | None = None
    held_files: int = 512
    poll_seconds: float = 5.0
    policy: InterruptionPolicy = InterruptionPolicy()  # noqa: RUF009 - frozen itself
    signal: str | None = None
    signal_when: Literal["fits", "always"] = "fits"
    checkpoint_signal: str | None = None
    notice_file: bool = False
    retention: RetentionRule = RetentionRule()  # noqa: RUF009 - frozen itself
    shutdown_grace_seconds: float = 90.0
    writes: bool = True
    """False on a node that may only restore and signal."""
    claims: bool = True
    """False for a single pass beside no daemon."""
