"""What the demo has to show at its end, and whether the promise was kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


class PromiseBroken(Exception):
    """Something was lost, or came too late, or did not come. `str()` says what; the demo exits 1."""


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Saved:
    """One checkpoint as the first machine's daemon reported it last."""

    name: str
    state: str
    bytes: int


@dataclass(slots=True)
class Summary:
    """Filled while the story goes on."""

    stopped_at_step: int = 0
    resumed_from: str = ""
    resumed_at_step: int = 0
    finished_at_step: int = 0
    identical_to_uninterrupted: bool = False
    notice_seconds: float = 0.0
    seconds_left_at_verdict: float = 0.0
    saved: Sequence[Saved] = ()
    phases: list[Phase] = field(default_factory=list)

    @property
    def steps_lost(self) -> int:
        return self.stopped_at_step - self.resumed_at_step

    def as_json(self) -> dict[str, Any]:
        return {"promise_kept": self.broken_by() is None, "steps_lost": self.steps_lost, **asdict(self)}

    def broken_by(self) -> str | None:
        """What breaks the promise; None when it was kept."""
        if self.steps_lost:
            return f"{self.steps_lost} steps were lost: stopped at {self.stopped_at_step}, went on from {self.resumed_at_step}"
        if not self.identical_to_uninterrupted:
            return "the resumed run did not end with the same bytes as the one that was never interrupted"
        if self.seconds_left_at_verdict <= 0:
            return "the verdict came after the deadline"
        return None

    def check(self) -> None:
        """Raises PromiseBroken."""
        if reason := self.broken_by():
            raise PromiseBroken(reason)
