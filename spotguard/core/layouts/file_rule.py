"""When a single file is whole: at the end that its format writes last, or else by quiet."""

from __future__ import annotations

from collections.abc import Mapping

from spotguard.core.checkpoint import Assessment, CompleteBy, LocalCheckpoint
from spotguard.core.layouts.base import Circumstances
from spotguard.core.layouts.generic_rule import assess_generic, whole_once_quiet
from spotguard.core.layouts.soundness import fault_in, has_ended, without_waiting
from spotguard.core.structure import Finding, Probe

ENDED_SECONDS = 0.2
"""Filesystem times tick every few milliseconds: within one tick a rewrite could look like what was there before."""


def assess_file(checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
    """torch.save and its like write from the first byte to the last, and the zip's end record is the last: who cuts the file off to write
    it anew takes that away first. So a trainer may rewrite it every few seconds, and it is still seen to be whole in between."""
    if decided := without_waiting(fault_in(checkpoint, findings), circumstances):
        return decided
    if has_ended(checkpoint, findings):
        needed = min(ENDED_SECONDS, circumstances.settle_seconds)
        return whole_once_quiet(circumstances, needed, CompleteBy.MARKER, "its end is there")
    return assess_generic(checkpoint, findings, circumstances)
