"""What a restore came to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class Skipped:
    """A commit that could not be restored."""

    name: str
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class MovedAside:
    """What lay on this disk and must not be taken for a checkpoint any more."""

    name: str
    to: str
    """Absolute path."""
    reason: str


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A torn checkpoint that was not touched."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    name: str
    stage: str
    step: int | None
    path: str
    """Absolute, where it lies now."""
    saved_at: datetime
    saved_by: str
    """The host that saved it: its instance id, else its name."""
    generation: int
    """0 for one that was never committed."""
    source: Literal["remote", "local"]
    """`local`: a whole one on this disk was newer than anything committed; nothing was fetched."""
    world_size: int | None = None
    """How many ranks wrote it, as far as is known."""
    files_fetched: int = 0
    bytes_fetched: int = 0
    files_reused: int = 0
    """Files that were here already and right."""
    companions_written: int = 0
    loose_fetched: int = 0
    loose_bytes_fetched: int = 0
    seconds: float = 0.0
    skipped: tuple[Skipped, ...] = ()
    """Newer commits that were damaged, the newest first."""
    moved_aside: tuple[MovedAside, ...] = ()
    left_alone: tuple[LeftAlone, ...] = ()
    warnings: tuple[str, ...] = ()
