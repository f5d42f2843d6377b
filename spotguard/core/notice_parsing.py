"""What the documents of the metadata service say, as notices. Pure: bytes that were read elsewhere go in.

Real ones are compact JSON in text/plain; the public mock sends tab-indented JSON, and XHTML pages where it has an error. Where a
document can be read in two ways, the more dangerous one is taken: an action that is not known counts as terminate, and one whose
time cannot be read counts as two minutes from the answer, which is what EC2 promises.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from spotguard.core.notice import Notice, NoticeKind

ASSUMED_NOTICE_SECONDS = 120.0

_ACTIONS = {"terminate": NoticeKind.TERMINATE, "stop": NoticeKind.STOP, "hibernate": NoticeKind.HIBERNATE}
_OVER = frozenset({"completed", "canceled", "cancelled"})
_GOING = frozenset({"terminated", "warmed:terminated", "warmed:stopped", "warmed:hibernated"})
"""Target states in which the machine will not run on. `Detached` and `Standby` leave the group, `Warmed:Running` returns to the
pool: all three keep running."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_EVENT_TIME = re.compile(r"\s*(\d{1,2}) ([A-Za-z]{3}) (\d{4}) (\d{1,2}):(\d{2}):(\d{2}) (?:GMT|UTC)\s*")


class NoticeUnreadable(ValueError):
    """The service answered something that is no such document. `str()` is one clause that quotes its beginning."""


def parse_instance_action(body: bytes, seen_date: float) -> Notice:
    """The spot notice in `spot/instance-action`. Raises NoticeUnreadable for what is no JSON object with an action."""
    document = _document(body)
    action = document.get("action") if isinstance(document, dict) else None
    if not isinstance(action, str) or not action.strip():
        raise NoticeUnreadable(f"has no action: {_quoted(body)}")
    word, told = action.strip().lower(), document.get("time")
    at = parse_service_time(told)
    return Notice(
        kind=_ACTIONS.get(word, NoticeKind.TERMINATE),
        at=seen_date + ASSUMED_NOTICE_SECONDS if at is None else at,
        seen_date=seen_date,
        text=word if at is not None else f"{word} without a time that can be read ({told!r})"[:200],
        reference=f"{word} {told}"[:200],
    )


def parse_rebalance(body: bytes, seen_date: float) -> Notice:
    """The recommendation in `events/recommendations/rebalance`; `at` is when it was given. Raises NoticeUnreadable."""
    document = _document(body)
    if not isinstance(document, dict):
        raise NoticeUnreadable(f"is no object: {_quoted(body)}")
    told = document.get("noticeTime")
    return Notice(NoticeKind.REBALANCE, parse_service_time(told), seen_date, "rebalance recommendation", f"rebalance {told}"[:200])


def parse_maintenance(body: bytes, seen_date: float) -> tuple[Notice, ...]:
    """The events in `events/maintenance/scheduled` that are still to come. Raises NoticeUnreadable for what is no array.

    `at` is NotBefore, None where it cannot be read; entries that are no objects are passed over."""
    document = _document(body)
    if not isinstance(document, list):
        raise NoticeUnreadable(f"is no array: {_quoted(body)}")
    return tuple(
        _maintenance(event, seen_date)
        for event in document
        if isinstance(event, dict) and str(event.get("State", "active")).strip().lower() not in _OVER
    )


def _maintenance(event: dict[str, Any], seen_date: float) -> Notice:
    code, description = str(event.get("Code", "")), str(event.get("Description", ""))
    told = event.get("NotBefore")
    text = ": ".join(part for part in (code, description) if part)[:200]
    reference = str(event.get("EventId") or f"{code} {told}")[:200]
    return Notice(NoticeKind.MAINTENANCE, parse_service_time(told), seen_date, text, reference)


def parse_target_state(body: bytes, seen_date: float) -> Notice | None:
    """The scale-in that `autoscaling/target-lifecycle-state` tells, if it tells one; it carries no time."""
    state = body.decode("utf-8", "replace").strip()
    if state.lower() not in _GOING:
        return None
    return Notice(NoticeKind.SCALE_IN, None, seen_date, f"Auto Scaling target state {state}", state)


def parse_service_time(told: object) -> float | None:
    """Seconds since the epoch of `2026-11-23T08:22:00Z` or `21 Jan 2019 09:00:43 GMT` (no zone: UTC); None for anything else."""
    if not isinstance(told, str):
        return None
    try:
        if match := _EVENT_TIME.fullmatch(told):
            day, month, year, hour, minute, second = match.groups()
            # not strptime: its month names are those of the locale
            parts = (int(year), _MONTHS.index(month.lower()) + 1, int(day), int(hour), int(minute), int(second))
            return datetime(*parts, tzinfo=UTC).timestamp()
        moment = datetime.fromisoformat(told.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NoticeUnreadable(f"is not JSON: {_quoted(body)}") from error


def _quoted(body: bytes) -> str:
    return repr(body[:60].decode("utf-8", "replace"))
