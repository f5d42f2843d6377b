"""How much of a hurry the daemon is in: written by the drain and by the end of the daemon, read by the replicator."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Urgency:
    reason: str = "save"
    """What manifests say: save, interruption, shutdown, sync."""
    deadline: float | None = None
    """Monotonic; None when there is none."""
    flush_loose: bool = False
    """Every changed loose file is due."""
    keep_all: bool = False
    """Nothing is given up for a newer one."""
    full_scans_after: float = 0.0
    """A full scan that began at or after this moment (monotonic) is wanted."""

    @property
    def draining(self) -> bool:
        return self.deadline is not None
