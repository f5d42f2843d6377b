"""The one sentence that an operator reads first: is the run safe?"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from spotguard.core.checkpoint import CheckpointState
from spotguard.core.phrasing import count, duration, plain, size
from spotguard.core.problem import Severity
from spotguard.core.status import DaemonState, Status


class Headline(NamedTuple):
    level: Literal["good", "caution", "bad"]
    word: str
    """In capitals, for a look from across the room."""
    sentence: str


_IN_A_DRAIN = frozenset({DaemonState.DRAINING, DaemonState.SAFE, DaemonState.UNSAFE})


def headline(status: Status, now: datetime) -> Headline:
    if status.interruption is not None and status.interruption.drill and status.state in _IN_A_DRAIN:
        return Headline("caution", "DRILL", f"an interruption is rehearsed; {_to_save(status)}")
    match status.state:
        case DaemonState.FENCED:
            return Headline("bad", "FENCED", "another daemon writes this run; nothing of this machine is saved any more")
        case DaemonState.SAFE:
            return Headline("good", "SAFE", f"all is saved{_last_committed(status)}; this machine may go")
        case DaemonState.UNSAFE:
            return Headline("bad", "UNSAFE", f"not all is saved{_given_up(status)}{_restorable(status)}")
        case DaemonState.DRAINING:
            return _draining(status, now)
        case DaemonState.STOPPING:
            return Headline("caution", "STOPPING", f"the daemon ends; {_to_save(status)}")
        case DaemonState.WATCHING:
            return _watching(status)


def _watching(status: Status) -> Headline:
    errors = [problem for problem in status.problems if problem.severity is Severity.ERROR]
    if errors:
        more = f" (and {count(len(errors) - 1, 'more problem')})" if len(errors) > 1 else ""
        return Headline("bad", "AT RISK", f"{plain(errors[0].message)}{more}")
    if not any(checkpoint.generation for checkpoint in status.checkpoints) and status.exposure.seconds_since_last_commit is None:
        seen = _to_save(status) if status.checkpoints else f"no checkpoint was seen under {plain(status.watch_dir)}"
        return Headline("caution", "NOTHING SAVED YET", seen)
    since = status.exposure.seconds_since_last_commit
    last = "" if since is None else f"; last commit {duration(since)} ago"
    if status.exposure.fits_in_notice is False:
        return Headline("caution", "AT RISK", f"a checkpoint would not fit between a notice and its deadline{last}")
    if failed := [c for c in status.checkpoints if c.state is CheckpointState.FAILED]:
        return Headline("caution", "NOT ALL SAVED", f"{plain(failed[-1].name)} failed: {plain(failed[-1].why or 'no reason known')}{last}")
    if status.problems or status.interruption is not None:
        return Headline("caution", "OK, WITH WARNINGS", f"{_to_save(status)}{last}")
    return Headline("good", "OK", f"{_to_save(status)}{last}")


def _draining(status: Status, now: datetime) -> Headline:
    deadline = status.interruption.deadline if status.interruption else None
    if deadline is None:
        return Headline("caution", "DRAINING", _to_save(status))
    left = (deadline - now).total_seconds()
    eta = status.backlog.eta_seconds
    late = left <= 0 or (eta is not None and eta > left)
    clock = f"{duration(left)} left" if left > 0 else f"{duration(-left)} past the deadline"
    return Headline("bad" if late else "caution", "DRAINING", f"{clock}; {_to_save(status)}")


def _to_save(status: Status) -> str:
    backlog = status.backlog
    if not backlog.checkpoints:
        writing = [c for c in status.checkpoints if c.state is CheckpointState.WRITING]
        return f"{plain(writing[-1].name)} is being written" if writing else "nothing waits to be saved"
    eta = "" if backlog.eta_seconds is None else f", about {duration(backlog.eta_seconds)}"
    return f"{count(backlog.checkpoints, 'checkpoint')} to save ({size(backlog.bytes)}{eta})"


def _last_committed(status: Status) -> str:
    name = status.interruption.last_committed if status.interruption else None
    return f" up to {plain(name)}" if name else ""


def _restorable(status: Status) -> str:
    name = status.interruption.last_committed if status.interruption else None
    return f"; a restore would bring {plain(name)}" if name else ""


def _given_up(status: Status) -> str:
    entries = status.interruption.given_up if status.interruption else ()
    return ": " + ", ".join(f"{plain(entry.name)} ({plain(entry.why)})" for entry in entries) if entries else ""
