"""Where work that moves bytes tells how far it is: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

from typing import Protocol


class ProgressSink(Protocol):
    """One line of progress at a time. Called from the event loop's thread; no verb raises or waits."""

    def start(self, total_bytes: int | None, label: str) -> None:
        """Begin, or begin anew, with what there is to move. `total_bytes` None: not known yet. A new start replaces the last one."""
        ...

    def advance(self, moved_bytes: int) -> None:
        """So many bytes more have gone; negative where an attempt starts over. Without effect before `start`."""
        ...

    def done(self) -> None:
        """The work is over, well or not; idempotent."""
        ...


class SilentProgress:
    """A sink that shows nothing."""

    def start(self, total_bytes: int | None, label: str) -> None:
        """Nothing happens."""

    def advance(self, moved_bytes: int) -> None:
        """Nothing happens."""

    def done(self) -> None:
        """Nothing happens."""
