"""Parts: as configured, within S3's limits, covering every byte once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.part_cut import MAX_PARTS, MIB, cut, part_size

GIB = 1 << 30


@given(st.integers(1, 200 * GIB), st.integers(5, 64).map(lambda n: n * MIB))
def test_parts_keep_to_the_limits_of_s3(size: int, configured: int) -> None:
    step = part_size(size, configured)
    assert step >= configured
    assert -(-size // step) <= MAX_PARTS


@given(st.integers(1, 4 * GIB), st.integers(5, 64).map(lambda n: n * MIB))
def test_parts_cover_every_byte_once_in_order(size: int, configured: int) -> None:
    at = 0
    for number, part in enumerate(cut(size, configured), 1):
        assert (part.number, part.offset) == (number, at)
        assert part.size > 0
        at += part.size
    assert at == size


def test_the_size_follows_the_table() -> None:
    assert part_size(16 * GIB, 16 * MIB) == 16 * MIB
    assert part_size(40 * GIB, 16 * MIB) == 41 * MIB
    assert part_size(160 * GIB, 16 * MIB) == 64 * MIB
    assert part_size(5000 * GIB, 16 * MIB) == 512 * MIB
