"""Into which parts a file is cut (DESIGN.md section 4, `upload.part_size_mib`; S3's limits: AWS facts section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MIB = 1 << 20
MAX_PARTS = 10_000
IN_FLIGHT_BYTES = 160 * MIB
_LARGE = 16 << 30
_COMFORTABLE_PART = 64 * MIB


class Part(NamedTuple):
    number: int
    offset: int
    size: int


def part_size(size: int, configured: int) -> int:
    """Bytes per part: as configured up to 16 GiB; then size/1000 up to 64 MiB, more only where 10,000 parts would not do."""
    wanted = configured
    if size > _LARGE:
        wanted = max(configured, min(_whole_mib(size // 1000), _COMFORTABLE_PART))
    return max(wanted, _whole_mib(-(-size // MAX_PARTS)))


def cut(size: int, configured: int) -> Iterator[Part]:
    """The parts of a file, numbered from 1, all of one size but the last."""
    step = part_size(size, configured)
    for number, offset in enumerate(range(0, size, step), 1):
        yield Part(number, offset, min(step, size - offset))


def _whole_mib(size: int) -> int:
    return -(-size // MIB) * MIB
