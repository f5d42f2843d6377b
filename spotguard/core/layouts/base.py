"""What every layout must answer: which entries are its checkpoints, what to look into, and whether the writer has finished.

A layout is one module with the functions of `Layout`: pure, no state. `auto` asks all of them in order, per folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from spotguard.core.checkpoint import Assessment, LocalCheckpoint, Unit
from spotguard.core.layouts.tree_index import Place
from spotguard.core.structure import Finding, Probe


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known of a checkpoint beside what lies on disk."""

    quiet_seconds: float
    """How long nothing of it has changed."""
    settle_seconds: float
    """`watch.settle_seconds`."""
    declared: bool = False
    """The trainer said that it is whole (POST /checkpoints/NAME/complete)."""
    writer_died: bool = False
    """The trainer ended within `settle_seconds` of the last write."""
    predecessor: tuple[str, ...] | None = None
    """Raw file paths of the previous whole or committed checkpoint of the same stage and layout; None when there is none."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A layout says that these entries are one checkpoint."""

    name: str
    unit: Unit
    members: tuple[str, ...]
    """Paths under the watch root: the folder itself for a directory, else the files."""
    companions: tuple[str, ...] = ()
    """Pointer files of the layout (`latest`, tracker) that belong to it; they stay loose files as well."""
    doubt: str = ""
    """Why it needs more quiet than others of its layout; empty when it does not."""


class Layout(Protocol):
    """One framework's rule for names and completeness."""

    @property
    def name(self) -> str:
        """As in `watch.layout`."""
        ...

    def recognises(self, last_name: str, unit: Unit) -> bool:
        """Whether an entry of that kind, which cannot be looked into, would be a checkpoint by its last name component."""
        ...

    def claims(self, place: Place, *, auto: bool) -> Iterable[Claim]:
        """The checkpoints directly in one folder that lies outside of any checkpoint. `auto`: other layouts are asked too."""
        ...

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        """The files whose inside has a say in `assess`."""
        ...

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        """Whether its writer has finished. A probe without a finding counts as not sound yet."""
        ...
