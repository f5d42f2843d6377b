"""What every layout must answer: which entries are its checkpoints, what to look into, and whether the writer has finished.

A layout is one module with the functions of `Layout`: pure, no state. `auto` asks all of them in the order of `registry.IN_ORDER`, per
folder; the first that claims an entry has it. So in `auto` a layout claims only what bears a sign of its framework, while one that is
set by name claims whatever fits its names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

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


class PointerText(NamedTuple):
    """A pointer file of the layout, and what it says when it names this checkpoint."""

    path: str
    """Under the watch root. One that is not there is left out of the checkpoint."""
    text: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A layout says that these entries are one checkpoint."""

    name: str
    """Path under the watch root. Of a group it is the common part of its files' names and need not exist."""
    unit: Unit
    members: tuple[str, ...]
    """Paths under the watch root: the folder itself for a directory, else the files. A file may have one owner only."""
    links: tuple[str, ...] = ()
    """Links beside it that lead to it and are rewritten with each save (`last.ckpt`): kept with it as links, not sent as files."""
    pointers: tuple[PointerText, ...] = ()
    """Pointer files (`latest`, a tracker) that may name it; they stay loose files as well."""
    doubt: str = ""
    """Why it needs more quiet than others of its layout; empty when it does not."""
    pending: str = ""
    """Why it cannot be finished by what lies beside it (a marker that names it, a temporary folder); empty when nothing does."""
    in_place: bool = False
    """Whether the framework writes over this name again and again."""


class Layout(Protocol):
    """One framework's rule for names and completeness."""

    @property
    def name(self) -> str:
        """As in `watch.layout`."""
        ...

    def recognises(self, last_name: str, unit: Unit) -> bool:
        """Whether an entry of that kind, which cannot be looked into, would be a checkpoint by its last name component alone."""
        ...

    def claims(self, place: Place, *, auto: bool) -> Iterable[Claim]:
        """The checkpoints directly in one folder that lies outside of any checkpoint. `auto`: other layouts are asked too."""
        ...

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        """The files whose inside has a say in `assess`: `soundness.probes_of`, which has its pointers too."""
        ...

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        """Whether its writer has finished. A probe without a finding counts as not sound yet.

        `checkpoint.pending` has been heeded before this is asked."""
        ...
