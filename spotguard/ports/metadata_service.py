"""What the instance metadata service must tell us."""

from __future__ import annotations

from typing import Protocol

from spotguard.core.notice import Instance, Sighting


class MetadataUnavailable(Exception):
    """No usable answer: refused, timed out, forbidden, throttled, or nonsense. `str()` is one line; `fix` what to do."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


class MetadataService(Protocol):
    async def poll(self) -> Sighting:
        """Ask every source of notices once. An empty sighting means that the service answered and there is nothing.

        Raises MetadataUnavailable when the spot notice could not be asked for."""
        ...

    async def identity(self) -> Instance:
        """Who this machine is. Raises MetadataUnavailable."""
        ...
