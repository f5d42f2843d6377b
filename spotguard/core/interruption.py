"""What the sightings of notices add up to: what the machine must drain for now, what is only advice, and what is over.

`advance` is the only transition, and it is pure. Its promises, whatever sequence of polls comes:

* Nothing drains without a notice that was sighted (or a drill), and nothing that was sighted is dropped by polls that failed.
* A deadline is fixed at the first sight; later polls move it earlier or not at all. Only a maintenance that is still just
  announced follows its schedule, which may be put off.
* A notice is over when two answered polls in a row lack it: withdrawn, if its time had not come. After its time a `terminate` or
  `stop` stands for good (the machine may go at any moment); the other kinds leave a machine that lives on.
* What comes back after that is a new interruption with a new deadline.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from spotguard.core.deadline import Due, InterruptionPolicy, corrected, due
from spotguard.core.notice import Notice, NoticeKind, Sighting

_SPOT = frozenset({NoticeKind.TERMINATE, NoticeKind.STOP, NoticeKind.HIBERNATE})
_FINAL = frozenset({NoticeKind.TERMINATE, NoticeKind.STOP})
_POLLS_WITHOUT = 2
_RESOLUTION_SECONDS = 1.0
"""Deadlines computed from two answers differ by up to this, because `Date` has whole seconds: that is no move."""
_DRILL_STANDS_SECONDS = 15.0
"""How long a drill that nobody ended stands after its time."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """What the machine drains for."""

    kind: NoticeKind
    drill: bool
    time: datetime | None
    """What the notice says, in the clock of the service; None where it gives no time."""
    detected_at: datetime
    """The first sight; the local clock, put right by the answer's `Date`."""
    deadline: float
    """Monotonic."""
    deadline_at: datetime
    """The same moment on the clock of `time`."""
    id: str
    """The same in every process that sees the same notice; kept when its time slides or its action changes."""
    signals_trainer: bool
    text: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """What is announced but stops nothing: a rebalance that asks for one more checkpoint, a maintenance still to come."""

    kind: NoticeKind
    time: datetime | None
    detected_at: datetime
    deadline_at: datetime | None
    """None for a rebalance, which ends at no known time."""
    id: str
    asks_checkpoint: bool
    text: str = ""


@dataclass(frozen=True, slots=True)
class InterruptionState:
    """What others read: at most one interruption and one advice, the most urgent of each."""

    current: Interruption | None = None
    advice: Advice | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """One notice, from its first sight on."""

    source: str
    interruption: Interruption
    happens: float | None
    """Monotonic moment of the notice's time; it only moves earlier once the drain has begun."""
    drains: bool
    missed: int = 0
    """Answered polls in a row that lacked it."""

    @property
    def gone(self) -> bool:
        return self.missed >= _POLLS_WITHOUT


@dataclass(frozen=True, slots=True)
class Ended:
    interruption: Interruption
    withdrawn: bool
    """Before its time; otherwise the machine outlived it, or a drill was over."""
    drained: bool


@dataclass(frozen=True, slots=True)
class InterruptionWatch:
    """All that is remembered between polls. `ended` tells of the last transition only."""

    tracks: tuple[Track, ...] = ()
    state: InterruptionState = InterruptionState()
    ended: tuple[Ended, ...] = ()
    next_change: float | None = None
    """The monotonic moment at which `advance` without a sighting would change something by itself."""


def advance(
    watch: InterruptionWatch, sighting: Sighting | None, *, now: float, wall: datetime, policy: InterruptionPolicy
) -> InterruptionWatch:
    """What is known after an answered poll (`sighting`), or after one that failed or a mere passing of time (None).

    `now` and `wall` are the monotonic and the local wall clock at the answer."""
    tracks = {track.source: track for track in watch.tracks}
    if sighting is not None:
        seen = {_source(notice): notice for notice in sighting.notices if _counts(notice, policy)}
        for source, notice in seen.items():
            known = tracks.get(source)
            fresh = _begin(notice, now, wall, policy)
            tracks[source] = fresh if known is None or known.gone else _again(known, fresh)
        tracks = {
            source: track if source in seen or _unasked(track, sighting) else replace(track, missed=track.missed + 1)
            for source, track in tracks.items()
        }
    return _settled(tracks.values(), now=now, policy=policy)


def begin_drill(
    watch: InterruptionWatch, *, seconds: float, signals_trainer: bool, now: float, wall: datetime, policy: InterruptionPolicy
) -> InterruptionWatch:
    """The watch with a rehearsal of a terminate notice that leaves `seconds`. Changes nothing while an interruption stands."""
    if watch.state.current is not None:
        return watch
    notice = Notice(NoticeKind.TERMINATE, wall.timestamp() + seconds, wall.timestamp(), "drill", f"drill {wall.isoformat()}")
    track = _begin(notice, now, wall, policy)
    drill = replace(track.interruption, drill=True, signals_trainer=signals_trainer)
    return _settled([*watch.tracks, replace(track, source=_DRILL, interruption=drill)], now=now, policy=policy)


def end_drill(watch: InterruptionWatch, *, now: float, policy: InterruptionPolicy) -> InterruptionWatch:
    """The watch without its drill."""
    rest = _settled([track for track in watch.tracks if track.source != _DRILL], now=now, policy=policy)
    return replace(rest, ended=rest.ended + tuple(_ended(track, now) for track in watch.tracks if track.source == _DRILL))


_DRILL = "drill"


def _source(notice: Notice) -> str:
    """Notices of one source follow each other; those of two stand side by side. Each maintenance event is a source of its own."""
    if notice.kind in _SPOT:
        return "spot"
    return f"maintenance {notice.reference}" if notice.kind is NoticeKind.MAINTENANCE else notice.kind.value


def _counts(notice: Notice, policy: InterruptionPolicy) -> bool:
    return notice.kind is not NoticeKind.REBALANCE or policy.on_rebalance != "ignore"


def _unasked(track: Track, sighting: Sighting) -> bool:
    return track.source == _DRILL or track.interruption.kind in sighting.silent


def _begin(notice: Notice, now: float, wall: datetime, policy: InterruptionPolicy) -> Track:
    """The track of a notice that is sighted for the first time."""
    detected_at, times = corrected(wall, notice.seen_date), due(notice, now=now, policy=policy)
    reference = f"{notice.reference} {notice.at}" if notice.kind is NoticeKind.MAINTENANCE else notice.reference or notice.at
    interruption = Interruption(
        kind=notice.kind,
        drill=False,
        time=_moment(notice.at),
        detected_at=detected_at,
        deadline=times.deadline,
        deadline_at=_deadline_at(times, now, detected_at),
        id=sha256(f"{notice.kind.value} {reference}".encode()).hexdigest()[:16],
        signals_trainer=notice.kind is not NoticeKind.HIBERNATE,
        text=notice.text,
    )
    only_advice = notice.kind is NoticeKind.REBALANCE and policy.on_rebalance != "drain"
    drains = notice.kind is not NoticeKind.MAINTENANCE and not only_advice
    return Track(_source(notice), interruption, times.happens, drains)


def _again(track: Track, fresh: Track) -> Track:
    """The track after its notice was sighted once more; `fresh` is what that sight alone would have begun."""
    known, now_told = track.interruption, fresh.interruption
    if not track.drains and known.kind is NoticeKind.MAINTENANCE:
        if now_told.time == known.time:
            return replace(track, missed=0)
        return replace(fresh, interruption=replace(now_told, detected_at=known.detected_at))
    changed = known
    if now_told.kind is not known.kind:
        changed = replace(known, kind=now_told.kind, signals_trainer=now_told.signals_trainer, text=now_told.text)
    if now_told.deadline > known.deadline - _RESOLUTION_SECONDS:
        return replace(track, interruption=changed, missed=0)
    earlier = replace(changed, deadline=now_told.deadline, deadline_at=now_told.deadline_at, time=now_told.time)
    return replace(track, interruption=earlier, happens=_earlier(track.happens, fresh.happens), missed=0)


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)


def _settled(tracks: Iterable[Track], *, now: float, policy: InterruptionPolicy) -> InterruptionWatch:
    """The tracks without those that are over, and what they add up to at this moment."""
    kept, ended = [], []
    for track in tracks:
        if _over(track, now):
            ended.append(_ended(track, now))
        else:
            kept.append(replace(track, drains=True) if _due_maintenance(track, now, policy) else track)
    if any(track.drains and track.source != _DRILL for track in kept):  # what is real ends a rehearsal
        ended += [_ended(track, now) for track in kept if track.source == _DRILL]
        kept = [track for track in kept if track.source != _DRILL]
    state = InterruptionState(_most_urgent(kept, now), _advice(kept))
    return InterruptionWatch(tuple(kept), state, tuple(ended), _next_change(kept, now, policy))


def _over(track: Track, now: float) -> bool:
    if track.source == _DRILL:
        return track.happens is not None and now >= track.happens + _DRILL_STANDS_SECONDS
    past = track.happens is not None and now >= track.happens
    return track.gone and not (past and track.drains and track.interruption.kind in _FINAL)


def _ended(track: Track, now: float) -> Ended:
    withdrawn = track.source != _DRILL and (track.happens is None or now < track.happens)
    return Ended(track.interruption, withdrawn, track.drains)


def _due_maintenance(track: Track, now: float, policy: InterruptionPolicy) -> bool:
    return (
        track.interruption.kind is NoticeKind.MAINTENANCE
        and track.happens is not None
        and now >= track.happens - policy.maintenance_lead_seconds
    )


def _most_urgent(tracks: Iterable[Track], now: float) -> Interruption | None:
    """The nearest deadline that is still to come; if all are over, the latest. A spot notice replaces the rebalance that foretold it."""
    draining = [track for track in tracks if track.drains]
    if any(track.source == "spot" and not track.gone for track in draining):
        draining = [track for track in draining if track.interruption.kind is not NoticeKind.REBALANCE]

    def urgency(track: Track) -> tuple[bool, bool, float, str]:
        deadline = track.interruption.deadline
        over = deadline <= now
        return track.gone, over, -deadline if over else deadline, track.source

    return min(draining, key=urgency).interruption if draining else None


def _advice(tracks: Iterable[Track]) -> Advice | None:
    """A rebalance before a maintenance: it asks for something."""
    waiting = [track for track in tracks if not track.drains]
    if not waiting:
        return None
    track = min(waiting, key=lambda t: (t.interruption.kind is NoticeKind.MAINTENANCE, t.interruption.deadline, t.source))
    told, asks = track.interruption, track.interruption.kind is NoticeKind.REBALANCE
    deadline_at = None if asks or told.time is None else told.deadline_at
    return Advice(told.kind, told.time, told.detected_at, deadline_at, told.id, asks, told.text)


def _next_change(tracks: Iterable[Track], now: float, policy: InterruptionPolicy) -> float | None:
    moments = [track.interruption.deadline for track in tracks if track.drains]
    for track in tracks:
        if track.happens is None:
            continue
        if not track.drains and track.interruption.kind is NoticeKind.MAINTENANCE:
            moments.append(track.happens - policy.maintenance_lead_seconds)
        if track.source == _DRILL:
            moments.append(track.happens + _DRILL_STANDS_SECONDS)
    return min((moment for moment in moments if moment > now), default=None)


def _moment(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)


def _deadline_at(times: Due, now: float, detected_at: datetime) -> datetime:
    if times.date is not None:
        return datetime.fromtimestamp(times.date, UTC)
    if times.deadline == float("inf"):
        return datetime.max.replace(tzinfo=UTC)
    return detected_at + timedelta(seconds=times.deadline - now)
