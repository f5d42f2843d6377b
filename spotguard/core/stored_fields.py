"""Single fields of what was read from a bucket: each is checked before it is believed, whoever wrote it."""

from __future__ import annotations

from datetime import UTC, datetime

from spotguard.core.manifest import ManifestError


def safe_path(path: object) -> str:
    """`path` itself if it is relative, POSIX and stays below where it is put; raises ManifestError otherwise."""
    if not isinstance(path, str) or not path:
        raise ManifestError(f"is damaged: {path!r} is not a path")
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise ManifestError(f"is damaged: {path!r} is not Unicode") from error
    parts = path.split("/")
    if path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ManifestError(f"is refused: the path {path!r} leads out of the checkpoint")
    return path


def stays_inside(link: str, target: str) -> bool:
    """Whether a link at `link` (relative to a folder) with this text leads to somewhere inside that folder."""
    if not target or target.startswith("/") or "\0" in target:
        return False
    depth = link.count("/")
    for part in target.split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return False
    return True


def parse_time(text: object) -> datetime:
    """The moment that an RFC 3339 text names, in UTC; raises ManifestError for anything else."""
    if not isinstance(text, str):
        raise ManifestError(f"is damaged: {text!r} is not a time")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ManifestError(f"is damaged: {text!r} is not a time") from error
    if moment.tzinfo is None:
        raise ManifestError(f"is damaged: the time {text!r} has no zone")
    return moment.astimezone(UTC)


def text(value: object) -> str:
    """Raises ManifestError for anything but text."""
    if not isinstance(value, str):
        raise ManifestError(f"is damaged: {value!r} is not text")
    return value


def number(value: object, *, negative: bool = False) -> int:
    """Raises ManifestError for anything but a whole number that is not negative, unless that is allowed."""
    if isinstance(value, bool) or not isinstance(value, int) or (value < 0 and not negative):
        raise ManifestError(f"is damaged: {value!r} is not a whole number")
    return value
