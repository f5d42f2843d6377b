"""One pass: upload and commit all that is complete, then end. What only waits for quiet is waited for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from spotguard.core.checkpoint import CheckpointState
from spotguard.ports.progress import ProgressSink
from spotguard.services.published import Published
from spotguard.services.replication.replication_view import ReplicationView
from spotguard.services.store_health import StoreHealth
from spotguard.services.upload.throughput import Throughput

_TICK_SECONDS = 0.2
_STUCK = frozenset({CheckpointState.FAILED, CheckpointState.VANISHED})


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """What a pass came to."""

    committed: tuple[str, ...]
    """Names that this pass committed."""
    already: int
    """How many were committed before and lie on disk unchanged."""
    unfinished: tuple[tuple[str, str], ...]
    """(name, reason) of what the trainer has not finished."""
    failed: tuple[tuple[str, str], ...]
    """(name, reason) of what is whole and did not get out."""
    flushed_by_daemon: bool = False

    @property
    def exit_status(self) -> int:
        return 1 if self.failed else 0


class SinglePass:
    def __init__(self, view: Published[ReplicationView], health: StoreHealth, throughput: Throughput, progress: ProgressSink) -> None:
        self._view = view
        self._health = health
        self._throughput = throughput
        self._progress = progress

    async def finish(self, began: float, *, patience_seconds: float) -> SyncOutcome:
        """Wait until all that is complete is committed, or the store gives no hope.

        `patience_seconds` is how long what only waits for quiet is waited for. Raises the StoreError that stands in the way."""
        already: set[str] | None = None
        loop = asyncio.get_running_loop()
        quiet_until = loop.time() + patience_seconds
        shown = 0
        try:
            while True:
                view = self._view.value
                if already is None and view.fully_observed_at >= began and view.recognised:
                    already = {c.name for c in view.checkpoints if c.state is CheckpointState.COMMITTED}
                    self._progress.start(view.backlog_bytes, "uploading")
                self._progress.advance(self._throughput.total_bytes - shown)
                shown = self._throughput.total_bytes
                if (error := self._health.last_error) is not None:
                    raise error
                waiting = view.settling and loop.time() < quiet_until
                done = view.fully_observed_at >= began and view.recognised and not view.uncommitted and view.loose_flushed_at >= began
                if done and not waiting:
                    return _outcome(view, already or set())
                if view.uncommitted and set(view.uncommitted) <= set(view.unreadable):
                    return _outcome(view, already or set())
                await self._next_view()
        finally:
            self._progress.done()

    async def _next_view(self) -> None:
        try:
            async with asyncio.timeout(_TICK_SECONDS):
                await self._view.changed()
        except TimeoutError:
            return


def _outcome(view: ReplicationView, already: set[str]) -> SyncOutcome:
    states = {c.name: (c.state, c.why) for c in view.checkpoints}
    committed = tuple(name for name, (state, _) in states.items() if state is CheckpointState.COMMITTED and name not in already)
    return SyncOutcome(
        committed=committed,
        already=sum(state is CheckpointState.COMMITTED and name in already for name, (state, _) in states.items()),
        unfinished=tuple((name, why or "unfinished") for name, (state, why) in states.items() if state is CheckpointState.WRITING),
        failed=tuple(
            (name, why or state.value)
            for name, (state, why) in states.items()
            if state in _STUCK or state in (CheckpointState.COMPLETE, CheckpointState.UPLOADING)
        ),
    )
