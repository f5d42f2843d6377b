"""What a check of `spotguard doctor` says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    OK = "ok"
    SKIPPED = "skipped"
    """There was nothing to look at, or something else stands in the way and is told elsewhere."""
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """`found` is what is the case, `why` what it costs, `fix` what mends it; the last two are empty where all is well."""

    check: str
    verdict: Verdict
    found: str
    why: str = ""
    fix: str = ""


def is_healthy(findings: Iterable[Finding]) -> bool:
    """Whether nothing is an error."""
    return all(finding.verdict is not Verdict.ERROR for finding in findings)
