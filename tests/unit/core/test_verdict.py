"""Safe is said only on evidence that is complete and late enough."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spotguard.core.verdict import Evidence, is_safe, why_unsafe

COMPLETE = Evidence(counts_from=10.0, fully_observed_at=10.0, being_written=0, uncommitted=0, failed=0, committed_any=True, loose_sent=True)


def test_complete_evidence_is_safe() -> None:
    assert is_safe(COMPLETE)


@pytest.mark.parametrize(
    "lack",
    [
        {"counts_from": None},
        {"fully_observed_at": 9.9},
        {"being_written": 1},
        {"uncommitted": 1},
        {"failed": 1},
        {"committed_any": False},
        {"loose_sent": False},
    ],
)
def test_any_gap_in_it_is_not(lack: dict[str, object]) -> None:
    evidence = replace(COMPLETE, **lack)  # type: ignore[arg-type]
    assert not is_safe(evidence)
    assert why_unsafe(evidence)
