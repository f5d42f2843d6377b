"""What a drill came to: one sentence that says what an interruption would cost now, or what to change, with the number that would do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from spotguard.core.exposure import Outlook
from spotguard.core.phrasing import in_seconds
from spotguard.core.status import GivenUp

SHUTDOWN = "shutdown"
"""What takes a drill over where it is no notice."""
_NOW = "if this machine is taken now"


class Asks(StrEnum):
    """What a drill has the trainer do."""

    NOTHING = "nothing"
    SAVE = "save"
    """Save and go on: `trainer.checkpoint_signal`."""
    STOP = "stop"
    """What a real notice has it do: `trainer.signal`."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What was seen of one drill. Seconds count from the notice, but for `saved_seconds`."""

    asks: Asks
    notice_seconds: float
    """To the deadline."""
    signal: str | None = None
    """What was sent, or would have been sent by a real notice where nothing was asked."""
    signalled_seconds: float | None = None
    saved_seconds: float | None = None
    """From the signal to the last write of the final save."""
    committed_seconds: float | None = None
    """When the final save was committed."""
    checkpoint: str | None = None
    """The final save."""
    safe: bool = False
    why_unsafe: str = ""
    given_up: tuple[GivenUp, ...] = ()
    trainer_ended: bool = False
    steps_at_risk: float | None = None
    """Before the drill, estimated."""
    last_commit_seconds: float | None = None
    """How old the last commit was, before the drill."""
    outlook: Outlook | None = None
    """By earlier saves."""
    taken_over: str | None = None
    """The kind of the real notice that came meanwhile, or SHUTDOWN."""
    notice_file: bool = False
    """Whether a real notice would be told by a file."""


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What is told of a drill. What is null was not asked, or did not happen."""

    passed: bool
    """Nothing would be lost."""
    sentence: str
    steps_lost: float | None
    asked: Asks
    signal: str | None
    notice_seconds: float
    signalled_seconds: float | None
    saved_seconds: float | None
    committed_seconds: float | None
    spare_seconds: float | None
    checkpoint: str | None
    given_up: tuple[GivenUp, ...]
    taken_over: str | None


def conclude(seen: Rehearsed) -> DrillReport:
    passed, steps, sentence = _verdict(seen)
    spare = None if seen.committed_seconds is None else seen.notice_seconds - seen.committed_seconds
    return DrillReport(
        passed=passed,
        sentence=sentence,
        steps_lost=steps,
        asked=seen.asks,
        signal=seen.signal if seen.asks is not Asks.NOTHING else None,
        notice_seconds=round(seen.notice_seconds, 3),
        signalled_seconds=_rounded(seen.signalled_seconds),
        saved_seconds=_rounded(seen.saved_seconds),
        committed_seconds=_rounded(seen.committed_seconds),
        spare_seconds=_rounded(spare),
        checkpoint=seen.checkpoint,
        given_up=seen.given_up,
        taken_over=seen.taken_over,
    )


def _verdict(seen: Rehearsed) -> tuple[bool, float | None, str]:
    """Whether it was passed, the steps that would be lost, and the sentence."""
    if seen.taken_over == SHUTDOWN:
        return False, None, "the drill was given up: the daemon is being stopped"
    if seen.taken_over is not None:
        return False, None, f"the drill was given up: a real notice came ({seen.taken_over})"
    if seen.safe and seen.committed_seconds is not None:
        return True, 0.0, _success(seen)
    if seen.safe and seen.asks is Asks.NOTHING and (seen.signal is not None or seen.notice_file):
        return _foreseen(seen)
    return False, _steps(seen), f"{_NOW} you lose {_loss(seen)}: {_what_to_change(seen)}"


def _success(seen: Rehearsed) -> str:
    assert seen.committed_seconds is not None
    parts = []
    if seen.signalled_seconds is not None:
        parts.append(f"signalled in {in_seconds(seen.signalled_seconds)}")
    if seen.saved_seconds is not None:
        parts.append(f"saved in {in_seconds(seen.saved_seconds)}")
    parts.append(f"committed at {in_seconds(seen.committed_seconds)}")
    parts.append(f"{in_seconds(seen.notice_seconds - seen.committed_seconds)} to spare")
    return f"{_NOW} you lose 0 steps: {', '.join(parts)}"


def _foreseen(seen: Rehearsed) -> tuple[bool, float | None, str]:
    """The trainer was not asked, but a real notice would ask it: earlier saves have to speak for it."""
    ask = "the trainer was not asked: a drill writes no notice file"
    if seen.signal is not None:
        ask = f"the trainer was not asked: set trainer.checkpoint_signal, or drill with --stop to send {seen.signal}"
    ahead = seen.outlook
    if ahead is None:
        return False, None, f"{_NOW} nobody can tell what you lose: no save was measured yet; {ask}"
    if not ahead.fits:
        return False, _steps(seen), f"{_NOW} you lose {_loss(seen)}: {ahead.shortfall}: {ahead.way_out}"
    told = f"by earlier ones a save takes {in_seconds(ahead.save_seconds)} and sending it {in_seconds(ahead.flush_seconds)}"
    return True, 0.0, f"{_NOW} you should lose 0 steps: {told} of {in_seconds(seen.notice_seconds)}; {ask}"


def _what_to_change(seen: Rehearsed) -> str:
    if seen.asks is not Asks.NOTHING and seen.signalled_seconds is None:
        return "no trainer was found to be signalled; check trainer.pid_file, .process, .systemd_unit or .docker_container"
    if seen.asks is not Asks.NOTHING and seen.trainer_ended and seen.checkpoint is None and not seen.given_up:
        return f"the trainer ended on {seen.signal} without saving; set the signal on which it saves (docs/trainers.md)"
    if seen.outlook is not None and not seen.outlook.fits:
        return f"{seen.outlook.shortfall}: {seen.outlook.way_out}"
    if seen.given_up:
        first = seen.given_up[0]
        return f"{first.name}: {first.why}; save smaller or more often, or get a faster link"
    if seen.asks is not Asks.NOTHING:
        within = in_seconds(seen.notice_seconds)
        return f"no checkpoint that the trainer began after {seen.signal} was committed within {within}; see what that signal does in it"
    if seen.safe:
        return "nobody is asked to save at a notice; set trainer.signal, and trainer.checkpoint_signal to rehearse it"
    return seen.why_unsafe or "not all was saved"


def _loss(seen: Rehearsed) -> str:
    if seen.steps_at_risk is not None:
        return f"about {seen.steps_at_risk:.0f} steps"
    if seen.last_commit_seconds is not None:
        return f"the training since the last commit, {in_seconds(seen.last_commit_seconds)} ago"
    return "all of the training so far"


def _steps(seen: Rehearsed) -> float | None:
    return None if seen.steps_at_risk is None else round(seen.steps_at_risk, 1)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
