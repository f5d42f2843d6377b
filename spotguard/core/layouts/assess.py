"""Whether a checkpoint is whole, by the rule of its layout."""

from __future__ import annotations

from collections.abc import Mapping

from spotguard.core.checkpoint import Assessment, LocalCheckpoint, Unfinished
from spotguard.core.layouts.base import Circumstances
from spotguard.core.layouts.registry import LAYOUTS
from spotguard.core.structure import Finding, Probe


def probes_for(checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
    """What must be looked into before `assess`; empty for a broken checkpoint. Raises KeyError for an unknown layout."""
    return () if checkpoint.broken else LAYOUTS[checkpoint.layout].probes(checkpoint)


def assess(checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
    """Whether the trainer has finished writing it. Raises KeyError for an unknown layout."""
    if why := checkpoint.broken or checkpoint.pending:
        return Unfinished(why)
    return LAYOUTS[checkpoint.layout].assess(checkpoint, findings, circumstances)
