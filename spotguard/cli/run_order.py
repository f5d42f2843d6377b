"""What `spotguard run` is to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spotguard.adapters.telling.message_link import MessageLink


@dataclass(frozen=True, slots=True)
class Work:
    """What the other processes do; each gets its end of a link and returns an exit status."""

    restore: Callable[[MessageLink], int]
    guard: Callable[[MessageLink], int]


@dataclass(frozen=True, slots=True)
class RunOrder:
    command: Sequence[str]
    grace_seconds: float
    strict: bool
    again: bool
    environment: Mapping[str, str]
    """What the command gets beside ours and the point that it resumes from; what the user set already wins."""
