"""The commit record as a value: a checkpoint is committed when, and only when, its manifest can be read.

`manifest_format` has its bytes. Nothing here knows where manifests are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from spotguard.core.checkpoint import CompleteBy, Order, Unit

COMPANION_LIMIT_BYTES = 64 * 1024


class ManifestError(ValueError):
    """The bytes are no manifest that this version may act on. The message is one line for people."""


@dataclass(frozen=True, slots=True)
class Host:
    hostname: str
    instance_id: str | None = None


@dataclass(frozen=True, slots=True)
class FirstPart:
    """The start of a file that went in several parts: tells other content apart without reading all of it."""

    size: int
    crc64nvme: str
    """base64 of 8 bytes, big endian."""


@dataclass(frozen=True, slots=True)
class ManifestFile:
    path: str
    key: str
    """Relative to the run's prefix."""
    size: int
    crc64nvme: str
    """base64 of 8 bytes, big endian, of the whole content."""
    mode: int
    mtime_ns: int
    first_part: FirstPart | None = None
    """None for a file of one part, and where it is not known."""


@dataclass(frozen=True, slots=True)
class ManifestFolder:
    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class ManifestLink:
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Companion:
    path: str
    """Relative to the watch root."""
    content: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    name: str
    stage: str
    step: int | None
    layout: str
    unit: Unit
    complete_by: CompleteBy
    generation: int
    saved_at: datetime
    committed_at: datetime
    reason: str
    """save, interruption, shutdown, sync or adopted."""
    host: Host
    total_bytes: int
    files: tuple[ManifestFile, ...]
    folders: tuple[ManifestFolder, ...] = ()
    links: tuple[ManifestLink, ...] = ()
    companions: tuple[Companion, ...] = ()
    excluded: tuple[str, ...] = ()
    training_state: Mapping[str, Any] = field(default_factory=dict)
    links_beside: tuple[ManifestLink, ...] = ()
    """Links outside of it that lead to it (`last.ckpt`); `path` is relative to the watch root, `target` to the link's folder."""
    world_size: int | None = None
    """How many ranks wrote it, as far as its file names tell."""

    @property
    def order(self) -> Order:
        return Order.of(int(self.saved_at.timestamp()), self.step, self.generation)
