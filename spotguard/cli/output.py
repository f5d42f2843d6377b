"""How values are written for people, and JSON for scripts."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from spotguard.core.phrasing import age, count, duration, plain, size

__all__ = ["age", "count", "duration", "on_terminal", "plain", "size", "write_json"]


def write_json(value: Any, *, one_line: bool = False) -> None:
    """Print one JSON document on standard output."""
    click.echo(json.dumps(value, indent=None if one_line else 2, default=str))


def on_terminal() -> bool:
    """Whether a person sees both what is printed and what is reported."""
    return all(stream is not None and not stream.closed and stream.isatty() for stream in (sys.stdout, sys.stderr))
