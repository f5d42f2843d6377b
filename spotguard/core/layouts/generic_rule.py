"""When a checkpoint of no known framework is whole (docs/layouts.md): quiet, sound, complete beside its predecessor."""

from __future__ import annotations

from collections.abc import Mapping

from spotguard.core.checkpoint import Assessment, CompleteBy, LocalCheckpoint, Unfinished, Unit, Whole
from spotguard.core.layouts.base import Circumstances
from spotguard.core.layouts.learned import lacking
from spotguard.core.layouts.ranks import missing_rank
from spotguard.core.layouts.soundness import fault_in, without_waiting
from spotguard.core.structure import Finding, Probe

_DOUBT_FACTOR = 6
_DOUBT_SECONDS = 60.0


def assess_generic(checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
    if not checkpoint.files and not checkpoint.links:
        return Unfinished("no file in it yet")
    if decided := without_waiting(fault_in(checkpoint, findings), circumstances):
        return decided
    if circumstances.writer_died:
        return Unfinished("its writer ended just after the last write, so it may be torn")
    if why := lacks(checkpoint, circumstances.predecessor):
        return Unfinished(why)
    return whole_once_quiet(circumstances, quiet_needed(checkpoint, circumstances), CompleteBy.QUIET, checkpoint.doubt)


def quiet_needed(checkpoint: LocalCheckpoint, circumstances: Circumstances) -> float:
    """Seconds. The first of a doubtful kind waits longer; once one was whole, the kind is known."""
    in_doubt = checkpoint.doubt and circumstances.predecessor is None
    return long_quiet(circumstances) if in_doubt else circumstances.settle_seconds


def long_quiet(circumstances: Circumstances) -> float:
    """Seconds that are enough where names and markers do not tell."""
    return max(_DOUBT_FACTOR * circumstances.settle_seconds, _DOUBT_SECONDS)


def lacks(checkpoint: LocalCheckpoint, predecessor: tuple[str, ...] | None) -> str | None:
    """Which file is not there although another rank has it or the predecessor had it, as one clause. A single file has nothing to lack."""
    if checkpoint.unit is Unit.FILE:
        return None
    missing = missing_rank(file.path for file in checkpoint.files)
    if missing is None or (predecessor is not None and missing_rank(predecessor) is not None):
        missing = lacking(checkpoint, predecessor)
    return missing and f"{missing} is not there, which another rank or the checkpoint before it has"


def whole_once_quiet(circumstances: Circumstances, needed_seconds: float, by: CompleteBy, because: str = "") -> Assessment:
    """Whole after so much quiet; until then unfinished for want of nothing but time."""
    left = needed_seconds - circumstances.quiet_seconds
    if left <= 0:
        return Whole(by)
    why = f" ({because})" if because else ""
    return Unfinished(
        f"quiet for {circumstances.quiet_seconds:.0f} of {needed_seconds:g} s{why}", waits_only_for_quiet=True, ready_in_seconds=left
    )
