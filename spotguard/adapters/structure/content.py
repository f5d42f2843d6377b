"""What the structure checks read from."""

from __future__ import annotations

from typing import Protocol


class Content(Protocol):
    """The bytes of a file, on a disk or elsewhere."""

    @property
    def size(self) -> int: ...

    def read(self, count: int, offset: int) -> bytes:
        """At most `count` bytes from there; fewer only at the end, or where the system gives fewer at once."""
        ...
