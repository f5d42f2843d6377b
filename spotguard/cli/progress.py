"""Progress bars on a terminal, silence elsewhere."""

from __future__ import annotations

from spotguard.cli.output import on_terminal
from spotguard.ports.progress import ProgressSink, SilentProgress


def progress_sink(*, as_json: bool) -> ProgressSink:
    """A bar for a person at a terminal, nothing for a pipe or a script. Whoever starts it ends it with `done`."""
    if as_json or not on_terminal():
        return SilentProgress()
    from spotguard.cli.progress_bar import TerminalProgress

    return TerminalProgress()
