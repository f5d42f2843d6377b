"""How one interruption has gone so far, what the evidence for a verdict is, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spotguard.core.interruption import Interruption
from spotguard.core.rehearsal import Asks
from spotguard.core.status import DaemonState, GivenUp, InterruptionStatus
from spotguard.core.verdict import Evidence
from spotguard.services.replication.replication_view import ReplicationView

Verdict = Literal["safe", "unsafe"]

_LOOSE_PATIENCE_SECONDS = 10.0
"""How long the loose files may keep a verdict waiting once all checkpoints are committed."""
_LAST_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class DrainView:
    """What the drain tells the rest of the daemon."""

    state: DaemonState = DaemonState.WATCHING
    interruption: InterruptionStatus | None = None


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """What a drill does beside flushing."""

    asks: Asks = Asks.NOTHING
    hooks: bool = False
    """Whether the hooks run."""


@dataclass(slots=True)
class Course:
    """How one interruption has gone so far; not frozen, because it is the working memory of one drain."""

    interruption: Interruption
    began: float
    counts_from: float | None = None
    checkpoints_done_at: float | None = None
    verdict: Verdict | None = None
    drill: DrillPlan = DrillPlan()
    """What counts where the interruption is a drill."""
    signalled: bool = False
    signalled_at: float | None = None
    """Monotonic."""
    final_save: str | None = None
    final_save_at: float | None = None
    """Monotonic: when it was found committed."""
    final_save_seconds: float | None = None
    """From the signal to its last write."""
    trainer_ended: bool = False
    told_safe: bool = False
    told_unsafe: bool = False

    def evidence(self, view: ReplicationView, now: float) -> Evidence:
        """What is known at `now` (monotonic). Remembers since when the checkpoints are done."""
        if not view.nothing_left:
            self.checkpoints_done_at = None
        elif self.checkpoints_done_at is None:
            self.checkpoints_done_at = now
        since = self.counts_from if self.counts_from is not None else now
        waited = now - self.checkpoints_done_at if self.checkpoints_done_at is not None else 0.0
        impatient = waited >= _LOOSE_PATIENCE_SECONDS or self.interruption.deadline - now < _LAST_SECONDS
        return Evidence(
            counts_from=self.counts_from,
            fully_observed_at=view.fully_observed_at,
            being_written=0 if self._goes_on else len(view.being_written),
            uncommitted=0 if self._goes_on else len(view.uncommitted),
            failed=len(view.failed),
            committed_any=view.committed_any,
            loose_sent=view.loose_flushed_at >= since or impatient,
        )

    @property
    def _goes_on(self) -> bool:
        """The trainer was only asked to save, and did: what it writes next is none of this rehearsal."""
        return self.interruption.drill and self.drill.asks is Asks.SAVE and self.final_save is not None

    def told(self, view: ReplicationView) -> DrainView:
        """The course as the rest of the daemon sees it."""
        state = {None: DaemonState.DRAINING, "safe": DaemonState.SAFE, "unsafe": DaemonState.UNSAFE}[self.verdict]
        return DrainView(state, self.status(view))

    def status(self, view: ReplicationView) -> InterruptionStatus:
        return InterruptionStatus(
            kind=self.interruption.kind,
            drill=self.interruption.drill,
            time=self.interruption.time,
            detected_at=self.interruption.detected_at,
            deadline=self.interruption.deadline_at,
            verdict=self.verdict,
            last_committed=view.last_commit.name if view.last_commit else None,
            given_up=self._given_up(view),
        )

    def _given_up(self, view: ReplicationView) -> tuple[GivenUp, ...]:
        named = {given_up.name: given_up.why for given_up in (*view.given_up, *view.does_not_fit)}
        if self.verdict is not None and not self._goes_on:
            for unfinished in view.unfinished:
                named.setdefault(unfinished.name, unfinished.why)
        if self.verdict == "unsafe":
            for name in view.uncommitted:
                named.setdefault(name, "not committed before the deadline")
        return tuple(GivenUp(name, why) for name, why in named.items())
