"""What the daemon tells the world: the one description of itself that leaves the process (docs/http.md).

Field names are a contract. All values are frozen snapshots; times are aware datetimes in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from spotguard.core.checkpoint import CheckpointState
from spotguard.core.notice import NoticeKind
from spotguard.core.problem import Problem


class DaemonState(StrEnum):
    WATCHING = "watching"
    DRAINING = "draining"
    SAFE = "safe"
    UNSAFE = "unsafe"
    STOPPING = "stopping"
    FENCED = "fenced"


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    id: str | None = None
    type: str | None = None
    zone: str | None = None
    lifecycle: str | None = None


@dataclass(frozen=True, slots=True)
class GivenUp:
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class InterruptionStatus:
    kind: NoticeKind
    drill: bool
    time: datetime | None
    detected_at: datetime
    deadline: datetime | None
    verdict: Literal["safe", "unsafe"] | None = None
    last_committed: str | None = None
    given_up: tuple[GivenUp, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainerStatus:
    found: bool = False
    pids: tuple[int, ...] = ()
    signalled_at: datetime | None = None
    configured: bool = False
    """Whether there is a target at all; without one nobody is looked for."""
    signal: str | None = None
    """What it gets at a notice; None: nothing."""


@dataclass(frozen=True, slots=True)
class CheckpointStatus:
    name: str
    stage: str
    step: int | None
    state: CheckpointState
    files: int
    bytes: int
    uploaded_bytes: int
    generation: int
    """Of the last commit; 0 when there is none."""
    saved_at: datetime | None
    committed_at: datetime | None
    why: str | None = None
    """Why it is superseded, vanished, failed or still writing."""


@dataclass(frozen=True, slots=True)
class BacklogStatus:
    checkpoints: int = 0
    bytes: int = 0
    eta_seconds: float | None = 0.0


@dataclass(frozen=True, slots=True)
class ExposureStatus:
    seconds_since_last_commit: float | None = None
    steps_at_risk_estimate: float | None = None
    save_seconds_estimate: float | None = None
    flush_seconds_estimate: float | None = None
    fits_in_notice: bool | None = None
    longest_fitting_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class UploadStatus:
    bytes_per_second: float = 0
    bytes_total: int = 0
    retries_total: int = 0


@dataclass(frozen=True, slots=True)
class MetadataServiceStatus:
    mode: Literal["required", "off"] = "off"
    reachable: bool | None = None
    last_poll: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StoreStatus:
    reachable: bool | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ClaimStatus:
    """Who writes the run, as far as this daemon knows."""

    number: int | None = None
    may_write: bool = False
    waiting_for: str = ""
    """While it waits: for whom, in words."""


@dataclass(frozen=True, slots=True)
class Status:
    version: str
    state: DaemonState
    since: datetime
    instance: InstanceStatus = field(default_factory=InstanceStatus)
    interruption: InterruptionStatus | None = None
    trainer: TrainerStatus = field(default_factory=TrainerStatus)
    checkpoints: tuple[CheckpointStatus, ...] = ()
    backlog: BacklogStatus = field(default_factory=BacklogStatus)
    exposure: ExposureStatus = field(default_factory=ExposureStatus)
    upload: UploadStatus = field(default_factory=UploadStatus)
    imds: MetadataServiceStatus = field(default_factory=MetadataServiceStatus)
    store: StoreStatus = field(default_factory=StoreStatus)
    problems: tuple[Problem, ...] = ()
    run: str = ""
    """The destination URL of the run that this daemon guards."""
    watch_dir: str = ""
    claim: ClaimStatus = field(default_factory=ClaimStatus)
