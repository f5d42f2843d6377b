"""The daemon's status, put together from what its services publish."""

from __future__ import annotations

from datetime import datetime

from spotguard.core.claim import ClaimPhase
from spotguard.core.notice import Instance
from spotguard.core.status import (
    BacklogStatus,
    ClaimStatus,
    DaemonState,
    InstanceStatus,
    InterruptionStatus,
    Status,
    TrainerStatus,
    UploadStatus,
)
from spotguard.supervisor.guard import Guard


class Report:
    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._since: datetime = guard.ports.clock.wall()
        self._state = DaemonState.WATCHING
        self.instance = Instance()
        self.stopping = False

    def state(self) -> DaemonState:
        phase = self._guard.claim.state.value.phase
        if phase is ClaimPhase.FENCED:
            return DaemonState.FENCED
        return DaemonState.STOPPING if self.stopping else self._guard.drain.view.value.state

    def interruption(self) -> InterruptionStatus | None:
        return self._guard.drain.view.value.interruption or self._guard.advice.shown.value

    def status(self) -> Status:
        """A snapshot; cheap."""
        guard, view = self._guard, self._guard.replicator.view.value
        state, claim = self.state(), guard.claim.state.value
        if state is not self._state:
            self._state, self._since = state, guard.ports.clock.wall()
        processes = guard.trainer_watch.view.value.processes
        return Status(
            version=guard.settings.version,
            state=state,
            since=self._since,
            instance=InstanceStatus(self.instance.id, self.instance.type, self.instance.zone, self.instance.lifecycle),
            interruption=self.interruption(),
            trainer=TrainerStatus(
                bool(processes),
                tuple(p.pid for p in processes),
                guard.signals.signalled_at,
                configured=guard.trainer_watch.configured,
                signal=guard.settings.signal,
            ),
            checkpoints=view.checkpoints,
            backlog=self._backlog(),
            exposure=guard.prospects.exposure(),
            upload=UploadStatus(
                bytes_per_second=round(guard.throughput.bytes_per_second),
                bytes_total=guard.throughput.total_bytes,
                retries_total=guard.throughput.retries_total(),
            ),
            imds=guard.monitor.service_status.value,
            store=guard.health.status.value,
            problems=guard.problems.standing,
            run=guard.settings.keys.url,
            watch_dir=guard.settings.watch_dir,
            claim=ClaimStatus(claim.number, guard.may_write(), claim.waiting_for),
        )

    def unready(self) -> tuple[str, ...]:
        """Why the daemon is not ready; empty when it is."""
        guard = self._guard
        reasons = []
        if guard.replicator.view.value.fully_observed_at == float("-inf"):
            reasons.append("the watch root has not been scanned yet")
        if not guard.health.status.value.reachable or guard.health.status.value.error:
            reasons.append(guard.health.status.value.error or "the store has not answered yet")
        imds = guard.monitor.service_status.value
        if imds.mode == "required" and not imds.reachable:
            reasons.append(imds.error or "the metadata service has not answered yet")
        return tuple(reasons)

    def _backlog(self) -> BacklogStatus:
        view = self._guard.replicator.view.value
        rate = self._guard.throughput.estimate
        eta = 0.0 if not view.backlog_bytes else (round(view.backlog_bytes / rate, 1) if rate else None)
        return BacklogStatus(len(view.uncommitted), view.backlog_bytes, eta)
