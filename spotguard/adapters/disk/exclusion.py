"""Which entries `watch.exclude` leaves out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pathspec

_FOLDER_ANYWHERE = re.compile(r"^[^/!#\\]+/\*\*$")
_NEVER_WRONG = re.compile(r"\*?[A-Za-z0-9_.-]*[A-Za-z0-9](/\*\*)?")
"""Patterns of which nobody need be told that they are none."""


class _Rules(NamedTuple):
    spec: pathspec.GitIgnoreSpec
    negates: bool
    searches: Sequence[Callable[[str], Any]]


class Exclusion:
    """gitignore patterns, relative to the watch root.

    One addition: `NAME/**` means a folder of that name wherever it lies, as `NAME/` does, so that `wandb/**` also holds in a stage and
    inside a checkpoint. (git would anchor it at the root, as it has a slash in the middle.)
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Raises ValueError for what is no pattern."""
        self._patterns = tuple(patterns)
        if not all(_NEVER_WRONG.fullmatch(pattern) for pattern in patterns):
            _ = self._rules

    @cached_property
    def _rules(self) -> _Rules:
        """Made when something is there that may be left out: in an empty folder, which most restores find, nothing is."""
        import pathspec

        lines = [f"**/{line}" if _FOLDER_ANYWHERE.match(line) else line for line in self._patterns]
        spec = pathspec.GitIgnoreSpec.from_lines(lines)
        ordered = [pattern for pattern in spec.patterns if pattern.include is not None]
        negates = any(pattern.include is False for pattern in ordered)
        return _Rules(spec, negates, [pattern.regex.match for pattern in ordered if pattern.regex is not None])

    def leaves_out(self, path: str) -> bool:
        """Whether a file or link is excluded."""
        spec, negates, searches = self._rules
        if negates:
            return spec.match_file(path)
        return any(search(path) for search in searches)  # the same without precedence, at a tenth of the cost

    def leaves_out_folder(self, path: str) -> bool:
        """Whether nothing in a folder can be wanted, so that it need not be looked into."""
        _, negates, searches = self._rules
        return not negates and any(search(f"{path}/") for search in searches)
