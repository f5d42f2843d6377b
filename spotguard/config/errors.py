"""How a configuration is refused: one line per mistake."""

from __future__ import annotations

from collections.abc import Sequence


class ConfigError(Exception):
    """The configuration cannot be used. Each of `lines` names field, value, and line or variable, and says what to do."""

    exit_status = 2
    """Of a command that ends with it (docs/operations.md, "Exit status")."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines: tuple[str, ...] = tuple(lines)


class KeysConflict(ValueError):
    """Values that are right each by itself do not go together. Raised inside the models; `keys` are the ones to look at."""

    def __init__(self, keys: Sequence[str], message: str) -> None:
        super().__init__(message)
        self.keys = tuple(keys)
