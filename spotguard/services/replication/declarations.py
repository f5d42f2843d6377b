"""What the trainer has said to be whole, until it was heeded or no longer holds."""

from __future__ import annotations

from dataclasses import dataclass

from spotguard.core.checkpoint import LocalCheckpoint
from spotguard.core.quiet import COARSE_SECONDS
from spotguard.ports.clock import Clock, wall_ns
from spotguard.services.replication.ledger import Ledger


@dataclass(slots=True, eq=False)
class _Said:
    """One word of the trainer's."""

    wall_ns: int
    content: object = None
    """What it is about, from the first look on that has begun after it."""


class Declarations:
    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._said: dict[str, _Said] = {}

    def note(self, name: str) -> None:
        """Its trainer says now that the checkpoint of this name is whole."""
        self._said[name] = _Said(wall_ns(self._clock))

    def so_far(self) -> frozenset[str]:
        """The names, for a look that begins now. What is said while it goes on is for the next one: what that is about may have been
        written after this one had passed there."""
        return frozenset(self._said)

    def hold(self, heard: frozenset[str]) -> frozenset[str]:
        """After the ledger has seen a look that `heard` these: of which of them this is what lies there. What was written after the word,
        or over what it was about, is not."""
        for name in heard & self._said.keys():
            record, said = self._ledger.get(name), self._said[name]
            local = record.local if record is not None else None
            if local is None or (self._changed_since(local, said) if said.content is None else local.content != said.content):
                del self._said[name]
            else:
                said.content = local.content
        return heard & self._said.keys()

    def forget_heeded(self) -> None:
        """After a look: those whose content is captured, committed or given up."""
        for name in [name for name, said in self._said.items() if said.content is not None and self._is_heeded(name)]:
            del self._said[name]

    def _changed_since(self, local: LocalCheckpoint, said: _Said) -> bool:
        """By its newest time, unless that is of a clock that is ahead of ours."""
        return said.wall_ns + COARSE_SECONDS * 1e9 < local.newest_change_ns <= wall_ns(self._clock)

    def _is_heeded(self, name: str) -> bool:
        record = self._ledger.get(name)
        if record is None or record.local is None:
            return True
        if record.overtaken:
            return False  # what is captured is not what it was said of
        return record.capture is not None or record.given_up is not None or (record.recognised and record.is_committed)
