"""What earlier saves and uploads tell of the next one: how long it will take, whether it will fit, what is at risk until then."""

from __future__ import annotations

from spotguard.core.exposure import NOTICE_SECONDS, Link, Outlook, Save, expose, outlook
from spotguard.core.status import ExposureStatus
from spotguard.ports.clock import Clock
from spotguard.services.interruption.trainer_watch import TrainerWatch
from spotguard.services.published import Published
from spotguard.services.replication.replication_view import ReplicationView
from spotguard.services.upload.throughput import Throughput


class Prospects:
    def __init__(
        self, view: Published[ReplicationView], throughput: Throughput, trainers: TrainerWatch, clock: Clock, *, margin_seconds: float
    ) -> None:
        self._view = view
        self._throughput = throughput
        self._trainers = trainers
        self._clock = clock
        self.notice_seconds = NOTICE_SECONDS - margin_seconds
        """From a notice to its deadline."""

    def saves(self) -> list[Save]:
        """The latest that were committed, the newest last, on the local clock."""
        view = self._view.value
        steps = {checkpoint.name: checkpoint.step for checkpoint in view.checkpoints}
        return [Save(s.last_ns / 1e9 - s.write_seconds, s.last_ns / 1e9, s.size, steps.get(s.name)) for s in view.saves]

    def outlook(self, seconds_left: float | None = None) -> Outlook | None:
        """For a save that is asked for with so much time to the deadline (a whole notice unless given). None where the link, without a
        cap, or the save was never measured."""
        left = self.notice_seconds if seconds_left is None else seconds_left
        return outlook(self._size(), self.saves(), self._throughput.of_the_link, left)

    def exposure(self) -> ExposureStatus:
        now, last = self._clock.wall(), self._view.value.last_commit
        rate = self._throughput.of_the_link
        return expose(
            self.saves(),
            size=self._size(),
            link=Link(rate, self._throughput.estimate),
            now=now.timestamp(),
            since_last_commit=(now - last.committed_at).total_seconds() if last else None,
            training=self.may_train(),
            seconds_left=self.notice_seconds,
        )

    def may_train(self) -> bool:
        """False where a trainer is configured and none runs."""
        return not self._trainers.configured or bool(self._trainers.view.value.processes)

    def training_since(self) -> float | None:
        """Since when the trainers that run now do, seconds since the epoch; None where none is known."""
        return min((process.started for process in self._trainers.view.value.processes), default=None)

    def _size(self) -> int:
        """Bytes of the save to come: as large as the latest, or as one that waits to be committed if that is larger; where there is
        neither, as the largest on disk."""
        view = self._view.value
        waiting = [checkpoint.bytes for checkpoint in view.checkpoints if checkpoint.name in view.uncommitted]
        known = [save.size for save in view.saves[-1:]] + waiting
        return max(known or (checkpoint.bytes for checkpoint in view.checkpoints), default=0)
