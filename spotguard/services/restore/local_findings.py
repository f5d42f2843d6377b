"""What was found out about the checkpoints on this disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from spotguard.core.checkpoint import Inventory, Order, Tree, Unit
from spotguard.core.recovery import LocalCandidate
from spotguard.ports.clock import Clock

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Torn:
    """A checkpoint on disk that no trainer should go on from."""

    name: str
    reason: str
    layout: str
    paths: tuple[str, ...]
    """What it consists of, under the root: its folder, or its files."""


@dataclass(frozen=True, slots=True)
class Look:
    tree: Tree
    inventory: Inventory
    same: frozenset[str] = frozenset()
    """Names whose content is, by sizes and times, that of their last commit."""
    whole: tuple[LocalCandidate, ...] = ()
    """Whole, and not what was committed last under the name."""
    torn: tuple[Torn, ...] = ()
    orders: Mapping[str, Order] = field(default_factory=dict)
    """Of every checkpoint on disk."""
    ready_in_seconds: float | None = None
    """When to look again, because one is whole but for the quiet that proves it; None when there is none."""

    def changed_ns(self, name: str) -> int:
        """The newest modification time of the checkpoint's files and folders; 0 for none."""
        local = self.inventory.checkpoints.get(name)
        if local is not None and local.unit is not Unit.DIRECTORY:
            return max((file.stat.mtime_ns for file in local.files), default=0)
        below = f"{name}/"
        found = [stat.mtime_ns for path, stat in self.tree.folders.items() if path == name or path.startswith(below)]
        found += [stat.mtime_ns for path, stat in self.tree.files.items() if path == name or path.startswith(below)]
        return max(found, default=0)


def seconds_since(moment_ns: int, clock: Clock) -> float:
    """How long ago a file time is, on the local clock; 0 for one in the future."""
    return max(0.0, (clock.wall() - datetime.fromtimestamp(moment_ns / _NS, UTC)).total_seconds())
