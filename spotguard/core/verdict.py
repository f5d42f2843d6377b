"""When may the daemon say that it is safe for the machine to die? (docs/architecture.md, "Why `safe` means restorable")

The argument. Say `safe` at a moment t. Some full scan began after the trainer had exited, or after its final save was committed, or,
with nobody to signal, after the notice; that scan and what was learned since show nothing that is being written, nothing whole that is
not committed, and nothing newer than what is committed that can not be stored. A checkpoint that a trainer finished before it exited was
on disk when that scan began, so the scan saw it. So the newest checkpoint that was finished is committed, and promise 1 says that it
restores. Something must be committed at all: an empty folder is not safe, it is a wrong folder.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    counts_from: float | None
    """Monotonic: scans that began from here on count. None while the trainer is still to exit or to save."""
    fully_observed_at: float
    """When the newest full scan that the view is based on began."""
    being_written: int
    uncommitted: int
    failed: int
    """The newest of a stage that can not be stored as they lie there."""
    committed_any: bool
    loose_sent: bool
    """The loose files that had changed were sent after the checkpoints, or are not waited for any longer."""


def is_safe(evidence: Evidence) -> bool:
    if evidence.counts_from is None or evidence.fully_observed_at < evidence.counts_from:
        return False
    nothing_left = evidence.being_written == 0 and evidence.uncommitted == 0 and evidence.failed == 0
    return nothing_left and evidence.committed_any and evidence.loose_sent


def why_unsafe(evidence: Evidence) -> str:
    """One clause for people."""
    if evidence.uncommitted:
        return "a whole checkpoint was not committed in time"
    if evidence.failed:
        return "the newest checkpoint can not be stored"
    if evidence.being_written:
        return "a checkpoint was still being written"
    if not evidence.committed_any:
        return "nothing was ever committed in this run"
    if evidence.counts_from is None:
        return "the trainer neither exited nor saved after its signal"
    return "the disk could not be looked at again in time"
