"""`{checkpoint}`, `{stage}` and `{step}` in the trainer's command line (docs/commands.md, "resume").

Only these three are replaced, in one pass, so braces that mean something else (JSON, shell, format strings) stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_PLACEHOLDER = re.compile(r"\{(checkpoint|stage|step)\}")
_OPTION = re.compile(r"-{1,2}[A-Za-z][^=\s]*\Z")


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where training goes on from; all empty for a fresh start."""

    checkpoint: str = ""
    """Absolute path on this machine."""
    stage: str = ""
    step: int | None = None

    @property
    def values(self) -> Mapping[str, str]:
        return {"checkpoint": self.checkpoint, "stage": self.stage, "step": "" if self.step is None else str(self.step)}

    @property
    def environment(self) -> Mapping[str, str]:
        return {f"SPOTGUARD_{name.upper()}": value for name, value in self.values.items()}


def fill(command: Sequence[str], point: ResumePoint) -> tuple[str, ...]:
    """The command with its placeholders replaced.

    An argument that is one placeholder which is empty is dropped, and with it the `--option` before it; so is `--option={stage}` as a
    whole. An empty placeholder inside a longer argument becomes nothing. The command's own name is never dropped.
    """
    values = point.values
    filled: list[str] = []
    for at, argument in enumerate(command):
        if at and _is_empty(argument, values):
            if at > 1 and _OPTION.match(command[at - 1]):
                filled.pop()
            continue
        option, equals, rest = argument.partition("=")
        if at and equals and _OPTION.match(option) and _is_empty(rest, values):
            continue
        filled.append(_PLACEHOLDER.sub(lambda match: values[match[1]], argument))
    return tuple(filled)


def _is_empty(argument: str, values: Mapping[str, str]) -> bool:
    """Whether an argument is one placeholder, and that is empty."""
    alone = _PLACEHOLDER.fullmatch(argument)
    return alone is not None and not values[alone[1]]
