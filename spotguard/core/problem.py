"""Problems: what an operator must know, each with a fix. The codes are a contract (docs/operations.md)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Severity(StrEnum):
    WARNING = "warning"
    ERROR = "error"


class ProblemCode(StrEnum):
    NO_CHECKPOINT_SEEN = "no-checkpoint-seen"
    COMMIT_OVERDUE = "commit-overdue"
    WRONG_FOLDER = "wrong-folder"
    IMDS_BLIND = "imds-blind"
    STORE_DENIED = "store-denied"
    STORE_UNREACHABLE = "store-unreachable"
    NO_CONDITIONAL_WRITES = "no-conditional-writes"
    CLAIM_LOST = "claim-lost"
    TRAINER_NOT_FOUND = "trainer-not-found"
    CANNOT_SIGNAL = "cannot-signal"
    CANNOT_READ = "cannot-read"
    DISK_LOW = "disk-low"
    DOES_NOT_FIT = "does-not-fit"
    CLOCK_OFF = "clock-off"
    PORT_TAKEN = "port-taken"


@dataclass(frozen=True, slots=True)
class Problem:
    code: ProblemCode
    severity: Severity
    since: datetime
    message: str
    fix: str
