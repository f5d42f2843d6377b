"""What the trainer has said to be whole, until it was heeded."""

from __future__ import annotations

from collections.abc import Mapping

from spotguard.services.replication.ledger import Ledger


class Declarations:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._said_at: dict[str, float] = {}

    def note(self, name: str, at: float) -> None:
        """Its trainer says at this moment (monotonic) that the checkpoint of this name is whole."""
        self._said_at[name] = at

    def so_far(self) -> Mapping[str, float]:
        """For a look that begins now. What is said while it goes on is for the next one: what it is about may have been written after
        this one had passed there."""
        return dict(self._said_at)

    def forget_heeded(self, heard: Mapping[str, float]) -> None:
        """After a look: what was said of content that is captured, committed or gone is not said of what may be written over it later."""
        for name, at in heard.items():
            if self._said_at.get(name) == at and self._is_heeded(name):
                del self._said_at[name]

    def _is_heeded(self, name: str) -> bool:
        record = self._ledger.get(name)
        if record is None or record.local is None:
            return True
        if record.overtaken:
            return False  # what is captured is not what it was said of
        return record.capture is not None or record.given_up is not None or (record.recognised and record.is_committed)
