"""Tells the service manager that started `spotguard run` how it goes."""

from __future__ import annotations

import os

from spotguard.adapters.telling.service_manager import SystemdNotifier

_EVERY_SECONDS = 10.0
_NOT_FOR_CHILDREN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Heartbeat:
    def __init__(self) -> None:
        """From now on what we start knows nothing of the manager."""
        self.manager = SystemdNotifier(os.environ)
        for name in _NOT_FOR_CHILDREN:
            os.environ.pop(name, None)
        self.due = 0.0
        """Monotonic: when to beat again."""

    def beat(self, now: float, *, takes_longer: bool) -> None:
        """We are alive; `takes_longer`: and starting or stopping goes on for a while."""
        self.due = now + min(self.manager.watchdog_seconds or _EVERY_SECONDS, _EVERY_SECONDS)
        self.manager.watchdog()
        if takes_longer:
            self.manager.extend_timeout(3 * _EVERY_SECONDS)
