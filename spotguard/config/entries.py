"""What a configuration file consists of, apart from how YAML is read."""

from __future__ import annotations

from typing import Any, NamedTuple


class YamlProblem(Exception):
    """The text is not what is read here. `line` counts from 1; `str()` says why in one clause."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class Entry(NamedTuple):
    """One key of a mapping with what stands behind it."""

    key: str
    value: Any
    """Plain values; a mapping as a tuple of entries."""
    line: int
