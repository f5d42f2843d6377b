"""The problems that stand now: raised when a fault is seen, cleared when it is gone, logged at both."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from spotguard.core.problem import Problem, ProblemCode, Severity
from spotguard.ports.clock import Clock

log = structlog.get_logger()


class ProblemBoard:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._standing: dict[ProblemCode, Problem] = {}
        self._listeners: list[Callable[[Problem], None]] = []

    @property
    def standing(self) -> tuple[Problem, ...]:
        """Oldest first."""
        return tuple(sorted(self._standing.values(), key=lambda problem: problem.since))

    def on_raise(self, listener: Callable[[Problem], None]) -> None:
        """Call `listener` with every problem that was not standing before."""
        self._listeners.append(listener)

    def stands(self, code: ProblemCode) -> bool:
        return code in self._standing

    def raise_(self, code: ProblemCode, message: str, fix: str, severity: Severity = Severity.ERROR) -> None:
        """State that the problem stands. Repeating it keeps its `since`, takes the new words and is not logged again."""
        known = self._standing.get(code)
        problem = Problem(code, severity, known.since if known else self._clock.wall(), message, fix)
        self._standing[code] = problem
        if known is None:
            log.warning("problem.raised", code=code.value, severity=severity.value, message=message, fix=fix)
            for listener in self._listeners:
                listener(problem)

    def clear(self, code: ProblemCode) -> None:
        """State that the problem is gone; nothing happens if it did not stand."""
        if known := self._standing.pop(code, None):
            log.info("problem.cleared", code=code.value, lasted_seconds=round((self._clock.wall() - known.since).total_seconds(), 1))
