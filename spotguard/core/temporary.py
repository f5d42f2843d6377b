"""Names that frameworks give to what they have not finished: never sent early."""

from __future__ import annotations

from fnmatch import fnmatchcase

_PATTERNS = (".*", "tmp-*", "*.tmp*", "*-tmp")


def looks_temporary(path: str) -> bool:
    """Whether the file's name or one of its folders looks temporary; such a file is not sent early."""
    return any(fnmatchcase(part, pattern) for part in path.split("/") for pattern in _PATTERNS)
