"""Carries hints from the observer's thread to the event loop: a flood of events is one call there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

_GATHER_SECONDS = 0.005
_MOST_PATHS = 1_000
"""More than this at once is told as `something changed`, which is as good: the scan is the truth."""

OnChange = Callable[[str | None, bool], None]
"""Called in the loop with a path under the root (None: anywhere) and whether a file there was closed after writing."""


class HintQueue:
    def __init__(self, loop: asyncio.AbstractEventLoop, on_change: OnChange) -> None:
        self._loop = loop
        self._on_change = on_change
        self._lock = threading.Lock()
        self._pending: dict[str | None, bool] = {}
        self._called = False
        self._open = True

    def put(self, path: str | None, closed: bool) -> None:
        """From any thread."""
        with self._lock:
            if not self._open:
                return
            if len(self._pending) >= _MOST_PATHS:
                closed = closed or any(self._pending.values())
                self._pending.clear()
                path = None
            elif None in self._pending:
                path = None
            self._pending[path] = closed or self._pending.get(path, False)
            if self._called:
                return
            self._called = True
            try:
                self._loop.call_soon_threadsafe(self._gather)
            except RuntimeError:  # the loop is closed
                self._open = False

    def close(self) -> None:
        """No call comes after this one returned (in the loop)."""
        with self._lock:
            self._open = False
            self._pending.clear()

    def _gather(self) -> None:
        self._loop.call_later(_GATHER_SECONDS, self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
            self._called = False
        for path, closed in pending.items():
            self._on_change(path, closed)
