"""Runs hooks beside everything else: whoever tells an event does not wait for its hook."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from spotguard.ports.announcements import Announcements


class Hooks:
    def __init__(self, announcements: Announcements) -> None:
        self._announcements = announcements
        self._told: list[tuple[str, Mapping[str, Any]]] = []
        self._more = asyncio.Event()

    def tell(self, event: str, payload: Mapping[str, Any]) -> None:
        """Have the hook of this event run soon."""
        self._told.append((event, payload))
        self._more.set()

    async def run(self) -> None:
        """Run what was told, several at a time, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._more.wait()
                self._more.clear()
                told, self._told = self._told, []
                for event, payload in told:
                    group.create_task(self._announcements.run_hook(event, payload))
