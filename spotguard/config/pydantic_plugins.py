"""pydantic without the plugins of others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_SWITCH = "PYDANTIC_DISABLE_PLUGINS"


@contextmanager
def no_plugins() -> Iterator[None]:
    """For the time in which a model is built. pydantic looks through all packages of the environment for plugins, which takes as long
    as to build the models, and would load what a trainer's environment may well have (a tracer) into every command.

    For a process with one thread: the switch is a variable. One that is set stays as it is."""
    if _SWITCH in os.environ:
        yield
        return
    os.environ[_SWITCH] = "__all__"
    try:
        yield
    finally:
        del os.environ[_SWITCH]
