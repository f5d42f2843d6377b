"""What the service manager that started us wants to hear (systemd's notify protocol). Without one every verb does nothing.

No verb raises or blocks: a service manager that does not listen is no reason to stop.
"""

from __future__ import annotations

from typing import Protocol


class ServiceManager(Protocol):
    def ready(self) -> None:
        """The start is over: units ordered after us may start."""
        ...

    def status(self, text: str) -> None:
        """One line for `systemctl status`; line breaks become spaces."""
        ...

    def stopping(self) -> None:
        """The stop has begun."""
        ...

    def extend_timeout(self, seconds: float) -> None:
        """Ask not to be killed for this long from now. Good for this one time: ask again before it has passed."""
        ...

    def watchdog(self) -> None:
        """We are alive. To be called at least every `watchdog_seconds`, if that is not None."""
        ...

    @property
    def watchdog_seconds(self) -> float | None:
        """How often `watchdog` must be called: half of what the manager allows; None when it does not watch us."""
        ...
