"""Bytes in memory as the structure checks read them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BytesContent:
    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self, count: int, offset: int) -> bytes:
        return self.content[offset : offset + count]
