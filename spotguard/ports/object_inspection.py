"""Looking into an object without fetching all of it."""

from __future__ import annotations

from typing import Protocol

from spotguard.core.structure import Finding, Structure


class ObjectInspector(Protocol):
    async def look(self, key: str, *, size: int, etag: str, structure: Structure) -> Finding:
        """Whether the object is whole, as far as its head and tail tell. Raises ObjectMissing, StoreRejected (it is another object
        now, or archived), StoreError. Cancelled: a request may still be under way, and is heard by nobody."""
        ...
