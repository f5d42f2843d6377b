"""The `interruption` object of docs/http.md as JSON: in the notice file, the hooks and the record."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from spotguard.core.status import InterruptionStatus
from spotguard.core.timestamps import format_time


def interruption_document(status: InterruptionStatus) -> dict[str, Any]:
    return {
        "kind": status.kind.value,
        "drill": status.drill,
        "time": _time(status.time),
        "detected_at": _time(status.detected_at),
        "deadline": _time(status.deadline),
        "verdict": status.verdict,
        "last_committed": status.last_committed,
        "given_up": [{"name": given_up.name, "why": given_up.why} for given_up in status.given_up],
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
