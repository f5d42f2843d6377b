"""What a running daemon answers, whoever asks: its HTTP server on one side, `sync` and `status` on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # every command loads this for its exceptions
    from spotguard.core.rehearsal import Asks, DrillReport
    from spotguard.core.status import InterruptionStatus, Status
    from spotguard.core.tally import Tally


class UnknownCheckpoint(Exception):
    """No checkpoint of that name lies in the watched folder. `str()` is one line for people."""


class DrillRefused(Exception):
    """A rehearsal can not start now: a real notice is pending, or the daemon is stopping or fenced. `str()` says which."""


class NoDaemon(Exception):
    """Nobody answers at the address, or what answers is no spotguard. `fix` says what to do."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


class DaemonRefused(Exception):
    """The daemon is there and says no (token, unknown checkpoint, drill). `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class FlushOutcome:
    """What a flush came to when it ended or the caller's patience did."""

    committed: tuple[str, ...] = ()
    """Names that are on disk and committed as they lie there."""
    unfinished: tuple[tuple[str, str], ...] = ()
    """(name, why) of the others: `no trainer_state.json yet`, `the store can not be reached`."""


@dataclass(frozen=True, slots=True)
class Health:
    """That the daemon lives, and whose it is."""

    alive: bool
    version: str
    run: str
    """The destination URL of the run that it guards."""
    watch_dir: str


class DaemonControl(Protocol):
    """May be called concurrently, from the event loop that the daemon runs in."""

    def status(self) -> Status:
        """A snapshot; cheap, and safe to take at any time."""
        ...

    def durations(self) -> Mapping[str, Tally]:
        """How long commits, uploads, signals and drains took since the start, by `commit_latency`, `upload`, `signal`, `drain`."""
        ...

    def ready(self) -> tuple[str, ...]:
        """Why the daemon is not ready, one clause each; empty when it watches, reached the store at the last try, and reached the
        metadata service where that is required."""
        ...

    async def interruption(self, wait_seconds: float) -> InterruptionStatus | None:
        """The interruption that is pending, waiting up to `wait_seconds` for one. Returns at once when there is one."""
        ...

    async def flush(self, wait_seconds: float) -> FlushOutcome:
        """Scan now, commit what is complete, and wait for that up to `wait_seconds`.

        Cancelled: the flush goes on, only the waiting ends."""
        ...

    def declare_complete(self, name: str) -> None:
        """The trainer says that the checkpoint is whole. Returns as soon as that is noted. Raises UnknownCheckpoint."""
        ...

    async def drill(self, seconds: float, *, asks: Asks | None = None, hooks: bool = False) -> None:
        """Start a rehearsal with a notice for `seconds` from now; returns when it has started. Raises DrillRefused.

        `asks`: what the trainer is asked; None: for a save after which it goes on, where there is a signal for that."""
        ...

    async def drill_report(self, wait_seconds: float) -> DrillReport | None:
        """What the last drill came to, waiting up to `wait_seconds` for the one that is held. None: there is nothing to tell (yet)."""
        ...
