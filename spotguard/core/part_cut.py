"""Into which parts a file is cut (docs/configuration.md, `upload.part_size_mib`; S3's limits: its "multipart upload limits")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

MIB = 1 << 20
MAX_PARTS = 10_000
LEAST_PART = 5 * MIB
"""Of every part but the last, on S3."""
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
    yield from cut_by(size, part_size(size, configured))


def cut_by(size: int, step: int) -> Iterator[Part]:
    """The same, for a given size of the parts."""
    for number, offset in enumerate(range(0, size, step), 1):
        yield Part(number, offset, min(step, size - offset))


def step_of_listed(size: int, listed: Mapping[int, int]) -> int | None:
    """The part size of an upload of `size` bytes some of whose parts are known: number -> size. None where no single size explains all.

    The setting may have changed since it was begun, so the parts themselves tell: each but the last has the full size."""
    if not listed or size <= 0:
        return None
    number, found = min(listed.items())
    candidates = [found]
    if number > 1 and (size - found) % (number - 1) == 0:
        candidates.append((size - found) // (number - 1))  # the only one that is there is the last, and shorter
    for step in sorted(candidates, key=lambda step: step < LEAST_PART):
        parts = -(-size // step) if step > 0 else MAX_PARTS + 1
        if parts <= MAX_PARTS and _explains(size, step, listed):
            return step
    return None


def _explains(size: int, step: int, listed: Mapping[int, int]) -> bool:
    return all(number >= 1 and found == min(step, size - (number - 1) * step) for number, found in listed.items())


def _whole_mib(size: int) -> int:
    return -(-size // MIB) * MIB
