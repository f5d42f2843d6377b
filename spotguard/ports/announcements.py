"""How others hear of events: the notice file and the hooks. Nothing that fails here may stop a drain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Announcements(Protocol):
    async def publish_notice(self, notice: Mapping[str, Any]) -> None:
        """Create the notice file, whole, with this as JSON; a failure is logged."""
        ...

    async def withdraw_notice(self) -> None:
        """Remove the notice file if it is ours."""
        ...

    async def run_hook(self, event: str, payload: Mapping[str, Any]) -> None:
        """Run the hook of `on_notice`, `on_safe`, `on_unsafe`, `on_commit`, `on_problem` or `on_finished` with the payload as JSON
        on its standard input and wait for it, time-limited; a failure is logged, no more."""
        ...


class SignalJournal(Protocol):
    """Which process was signalled for which notice, kept across a restart of the daemon. Losing it costs a second signal."""

    async def read(self) -> frozenset[str]: ...

    async def add(self, entry: str) -> None: ...
