"""A metadata service and a daemon that polls it, as values: the stage of the tests of interruptions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from spotguard.core.deadline import InterruptionPolicy
from spotguard.core.interruption import Interruption, InterruptionWatch, advance
from spotguard.core.notice import Notice, NoticeKind, Sighting

EPOCH = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
POLICY = InterruptionPolicy()
K = NoticeKind


def at(seconds: float) -> float:
    """A moment of the service's clock, seconds after the beginning of the test."""
    return EPOCH.timestamp() + seconds


@dataclass
class World:
    """A service and a daemon whose monotonic clock begins at 1000; `skew` is how far the local wall clock is ahead."""

    policy: InterruptionPolicy = POLICY
    skew: float = 0.0
    now: float = 0.0
    watch: InterruptionWatch = field(default_factory=InterruptionWatch)

    def notice(self, kind: NoticeKind, seconds: float | None, reference: str = "") -> Notice:
        told = None if seconds is None else at(seconds)
        return Notice(kind, told, at(self.now), kind.value, reference or f"{kind.value} {seconds}")

    def poll(self, *told: tuple[NoticeKind, float | None], after: float = 5.0, silent: frozenset[NoticeKind] = frozenset()) -> World:
        self.now += after
        return self.see(Sighting(tuple(self.notice(kind, seconds) for kind, seconds in told), silent))

    def blind(self, after: float = 5.0) -> World:
        self.now += after
        return self.see(None)

    def see(self, sighting: Sighting | None) -> World:
        self.watch = advance(self.watch, sighting, now=1000 + self.now, wall=self.wall, policy=self.policy)
        return self

    @property
    def wall(self) -> datetime:
        return EPOCH + timedelta(seconds=self.now + self.skew)

    @property
    def current(self) -> Interruption:
        assert self.watch.state.current is not None
        return self.watch.state.current

    @property
    def left(self) -> float:
        return self.current.deadline - (1000 + self.now)
