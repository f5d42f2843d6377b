"""Times as they are written: in UTC, with whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime

_COMPACT = "%Y%m%dT%H%M%SZ"


def format_time(moment: datetime) -> str:
    """RFC 3339: 2026-11-23T19:59:58Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def compact_time(moment: datetime) -> str:
    """For names of keys and folders, which sort by it: 20261123T195958Z."""
    return moment.astimezone(UTC).strftime(_COMPACT)


def parse_compact_time(text: str) -> datetime:
    """What `compact_time` wrote. Raises ValueError."""
    return datetime.strptime(text, _COMPACT).replace(tzinfo=UTC)
