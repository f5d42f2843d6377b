"""One request, tried again until it is answered, its attempts are used up, or the deadline is near."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from spotguard.core.backoff import RetryPolicy, pause
from spotguard.ports.object_store import ChecksumRefused, ConcurrentWrite, StoreError, StoreUnavailable

_log = structlog.get_logger(__name__)

T = TypeVar("T")
Budget = Callable[[], float | None]
"""Seconds left to the deadline; None when there is none."""

_QUIET_SECONDS = 60.0
_BAD_SUMS = 2
"""A checksum refused more often than this is no accident of the network."""


class FaultLog:
    """One line at the first failure, one with the count at the recovery, and such a pair at most once a minute."""

    def __init__(self) -> None:
        self._failures = 0
        self._last_failure = 0.0
        self._next_line = float("-inf")
        self._said = False

    def failed(self, verb: str, key: str, error: StoreError) -> None:
        now = asyncio.get_running_loop().time()
        self._failures += 1
        self._last_failure = now
        if now >= self._next_line:
            self._said, self._next_line = True, now + _QUIET_SECONDS
            _log.warning("request.failed", verb=verb, key=key, error=str(error), failures=self._failures)

    def succeeded(self, verb: str, began: float) -> None:
        """An answer to a request that was sent after the last failure means that it is over."""
        if self._failures and began >= self._last_failure:
            if self._said:
                _log.info("request.recovered", verb=verb, failures=self._failures)
            self._failures, self._said = 0, False


class Insistence:
    """Counts the repetitions of one port's requests."""

    def __init__(self, policy: RetryPolicy, budget: Budget, dice: Callable[[], float] = random.random) -> None:
        self._policy, self._budget, self._dice = policy, budget, dice
        self._faults = FaultLog()
        self.total = 0

    async def on(
        self, verb: str, key: str, attempt: Callable[[bool], Awaitable[T]], *, conflicts: bool = False, bad_sums: bool = False
    ) -> T:
        """The first answer of `attempt`, which is told whether an earlier one may have been done without an answer.

        StoreUnavailable is tried again; ConcurrentWrite if `conflicts`, ChecksumRefused twice if `bad_sums`. Raises the last error, and
        StoreUnavailable without any attempt when the deadline has passed."""
        left = self._budget()
        if left is not None and left <= 0:
            raise StoreUnavailable(f"{verb} {key}: not begun, no time is left")
        failures, unsure = 0, False
        while True:
            began = asyncio.get_running_loop().time()
            try:
                answer = await attempt(unsure)
            except (StoreUnavailable, ConcurrentWrite, ChecksumRefused) as error:
                failures += 1
                unsure = unsure or isinstance(error, StoreUnavailable)
                self._faults.failed(verb, key, error)
                again = self._worth_it(error, failures, conflicts=conflicts, bad_sums=bad_sums)
                wait = pause(self._policy, failures, self._dice(), self._budget()) if again else None
                if wait is None:
                    raise
            else:
                self._faults.succeeded(verb, began)
                return answer
            self.total += 1
            await asyncio.sleep(wait)

    def _worth_it(self, error: StoreError, failures: int, *, conflicts: bool, bad_sums: bool) -> bool:
        if isinstance(error, ChecksumRefused):
            return bad_sums and failures <= _BAD_SUMS
        return conflicts or isinstance(error, StoreUnavailable)
