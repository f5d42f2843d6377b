"""Whether the store answered at the last try, and the problem that says so when it did not."""

from __future__ import annotations

import structlog

from spotguard.core.problem import ProblemCode
from spotguard.core.status import StoreStatus
from spotguard.ports.object_store import BucketMissing, StoreDenied, StoreError, StoreRejected, StoreUnavailable
from spotguard.services.problem_board import ProblemBoard
from spotguard.services.published import Published

log = structlog.get_logger()


class StoreHealth:
    def __init__(self, problems: ProblemBoard) -> None:
        self._problems = problems
        self.status: Published[StoreStatus] = Published(StoreStatus())
        self._failures = 0
        self.last_error: StoreError | None = None
        """Of the last try; None when it was answered as it should be."""

    def answered(self) -> None:
        """A request was answered as it should be."""
        if self._failures:
            log.info("store.recovered", failures=self._failures)
        self._failures = 0
        self.last_error = None
        self.status.publish(StoreStatus(reachable=True))
        self._problems.clear(ProblemCode.STORE_DENIED)
        self._problems.clear(ProblemCode.STORE_UNREACHABLE)

    def failed(self, error: StoreError) -> None:
        """A request failed after its retries. Logged at the first failure and at every power of two."""
        self._failures += 1
        self.last_error = error
        if self._failures & (self._failures - 1) == 0:
            log.warning("store.failed", failures=self._failures, error=str(error))
        if isinstance(error, StoreDenied | BucketMissing | StoreRejected):
            fix = error.fix or "check the credentials, the bucket's name and its policy"
            self._problems.clear(ProblemCode.STORE_UNREACHABLE)
            self._problems.raise_(ProblemCode.STORE_DENIED, str(error), fix)
            self.status.publish(StoreStatus(reachable=True, error=str(error)))
        elif isinstance(error, StoreUnavailable):
            fix = error.fix or "check the network and the endpoint; it is tried again without end"
            self._problems.clear(ProblemCode.STORE_DENIED)
            self._problems.raise_(ProblemCode.STORE_UNREACHABLE, str(error), fix)
            self.status.publish(StoreStatus(reachable=False, error=str(error)))
