"""What the replicator tells the rest of the daemon after each look: frozen, dated by the scan it is based on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from spotguard.core.plan import GivenUpName
from spotguard.core.status import CheckpointStatus


@dataclass(frozen=True, slots=True)
class SaveTimes:
    """When the files of a committed checkpoint were written, by the local clock."""

    name: str
    first_ns: int
    last_ns: int
    size: int
    write_seconds: float
    """How long the trainer took to write it."""


@dataclass(frozen=True, slots=True)
class LastCommit:
    name: str
    saved_at: datetime
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class ReplicationView:
    observed_at: float = float("-inf")
    """Monotonic: when the scan began that this is based on."""
    fully_observed_at: float = float("-inf")
    """The same of the last scan of the whole root."""
    checkpoints: tuple[CheckpointStatus, ...] = ()
    being_written: tuple[str, ...] = ()
    """Unfinished, and touched within the settle time (or waiting for quiet only)."""
    uncommitted: tuple[str, ...] = ()
    """Whole, not committed, not given up."""
    failed: tuple[str, ...] = ()
    """Newer than all that is committed of their stage, and can not be stored as they lie there."""
    unfinished: tuple[GivenUpName, ...] = ()
    """Every name that is not whole, with the reason; `being_written` is among it."""
    given_up: tuple[GivenUpName, ...] = ()
    does_not_fit: tuple[GivenUpName, ...] = ()
    loose_pending: int = 0
    loose_flushed_at: float = float("-inf")
    """Monotonic: all loose files that had changed by then are sent."""
    backlog_bytes: int = 0
    committed_any: bool = False
    recognised: bool = False
    """Whether the bucket has been asked about all that lies on disk."""
    settling: tuple[str, ...] = ()
    """Unfinished, but only because it has not been quiet for long enough."""
    unreadable: tuple[str, ...] = ()
    """Whole, but with files that may not be read."""
    last_commit: LastCommit | None = None
    saves: tuple[SaveTimes, ...] = ()
    """Of this daemon's commits, oldest first, the last twenty."""

    @property
    def left_unsaved(self) -> tuple[str, ...]:
        """What is lost if the machine goes now: whole or being written and not committed, or newest and not to be stored."""
        return (*self.uncommitted, *self.failed, *self.being_written)

    @property
    def nothing_left(self) -> bool:
        """Nothing is being written and nothing whole is uncommitted."""
        return not self.being_written and not self.uncommitted
