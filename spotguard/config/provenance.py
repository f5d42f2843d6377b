"""Where a value came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from spotguard.config.models import Config


@dataclass(frozen=True, slots=True)
class Source:
    """`str()` is `default`, `unset`, `file:PATH:LINE`, `env:VARIABLE`, `recipe:NAME` or `option`."""

    kind: Literal["default", "unset", "file", "env", "recipe", "option"]
    name: str = ""
    """The file's path, the variable, or the recipe."""
    line: int = 0
    """In the file, from 1."""

    def __str__(self) -> str:
        if self.kind == "file":
            return f"file:{self.name}:{self.line}"
        return f"{self.kind}:{self.name}" if self.kind in ("env", "recipe") else self.kind

    @property
    def words(self) -> str:
        """For an error line."""
        if self.kind == "file":
            return f"{self.name} line {self.line}"
        if self.kind == "recipe":
            return f"recipe {self.name}"
        return f"variable {self.name}" if self.kind == "env" else self.kind


DEFAULT = Source("default")
UNSET = Source("unset")
OPTION = Source("option")


class Given(NamedTuple):
    """What one source says of one key."""

    value: object
    source: Source


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    config: Config
    provenance: Mapping[str, Source]
    """For every key, `section.field`, the source that won."""
    file: str | None
    """The configuration file that was read; None when there was none."""
