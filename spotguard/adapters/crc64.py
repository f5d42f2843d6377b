"""CRC64NVME, by the AWS CRT: the checksum of every object and part.

The CRT takes 40 ms to load, more than a restore from its beginning to its first request for data: it gathers entropy from the processor's
jitter. So it is loaded at the first sum, when bytes are under way. The interpreter's lock is held meanwhile: who must never wait that
long, a daemon, calls `load` before.
"""

from __future__ import annotations

from functools import cache
from typing import Any


def crc64nvme(content: bytes | bytearray | memoryview, before: int = 0) -> int:
    """Of these bytes; of all, where `before` is the sum of those before them."""
    return int(_checksums().crc64nvme(content, before))


def combine_crc64nvme(first: int, second: int, second_bytes: int) -> int:
    """Of two pieces put together, the second of so many bytes."""
    return int(_checksums().combine_crc64nvme(first, second, second_bytes))


def load() -> None:
    _checksums()


@cache
def _checksums() -> Any:
    import awscrt.checksums

    return awscrt.checksums
