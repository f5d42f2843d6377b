"""Failures of the network as port errors."""

from __future__ import annotations

from spotguard.adapters.s3.errors import Subject
from spotguard.ports.object_store import StoreError, StoreUnavailable

UNREACHABLE_FIX = "check the network, DNS, the VPC endpoint and proxies; it is tried again"


def from_wire(error: Exception, subject: Subject, endpoint: str = "") -> StoreError:
    """For failures without an answer, or with half of one; `endpoint`: the URL that did not answer, where it is known."""
    source = f" from {endpoint}" if endpoint else ""
    if isinstance(error, TimeoutError):
        return StoreUnavailable(f"{subject}: no answer within the stall limit{source}", "nothing if it passes: it is tried again")
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return StoreUnavailable(f"{subject}: no answer{source}: {reason}", UNREACHABLE_FIX)
