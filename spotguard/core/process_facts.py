"""One process as a look at the table shows it, and which Python program a command line runs."""

from __future__ import annotations

import re
from typing import NamedTuple


class ProcessFacts(NamedTuple):
    """One process in a table."""

    pid: int
    ppid: int
    arguments: tuple[str, ...]
    """The command line; empty for kernel threads and zombies."""
    started: float
    """Seconds since the epoch."""
    zombie: bool = False
    caught: int = 0
    """Bit n - 1 is set where the process has a handler for signal n; known only of shells, 0 else."""

    @property
    def command(self) -> str:
        return " ".join(self.arguments)


_INTERPRETER = re.compile(r"(python|pypy)[0-9.]*$")
_TAKES_A_VALUE = frozenset(("-W", "-X", "--check-hash-based-pycs"))


def python_program(arguments: tuple[str, ...]) -> str | None:
    """What a Python interpreter was told to run: the path of a script or the name of a module. None for `-c`, for an interpreter without
    a program, and for what is no Python."""
    if not arguments or not _INTERPRETER.search(base_name(arguments[0])):
        return None
    words = iter(arguments[1:])
    for word in words:
        if word in _TAKES_A_VALUE:
            next(words, None)
        elif word.startswith("-") and word.endswith("m") and not word.startswith("--"):  # -m, -Im, -um
            return next(words, None)
        elif word == "-c":
            return None
        elif not word.startswith("-"):
            return word
    return None


def base_name(path: str) -> str:
    return path.rpartition("/")[2]
