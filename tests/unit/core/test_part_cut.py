"""Parts: as configured, within S3's limits, covering every byte once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.part_cut import MAX_PARTS, MIB, cut, cut_by, part_size, step_of_listed

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


@given(st.integers(1, 4 * GIB), st.integers(5, 64).map(lambda n: n * MIB), st.data())
def test_the_cut_is_found_again_from_any_of_its_parts(size: int, configured: int, data: st.DataObject) -> None:
    parts = {part.number: part.size for part in cut(size, configured)}
    some = data.draw(st.sets(st.sampled_from(sorted(parts)), min_size=1))
    step = step_of_listed(size, {number: parts[number] for number in some})
    assert step is not None
    # the very same cut, or one that cannot be told from it by these parts
    again = {part.number: part.size for part in cut_by(size, step)}
    assert all(again[number] == parts[number] for number in some)
    if some - {max(parts)}:
        assert again == parts


@pytest.mark.parametrize(
    ("size", "listed"),
    [
        (100 * MIB, {}),
        (100 * MIB, {1: 16 * MIB, 2: 8 * MIB}),
        (100 * MIB, {1: 16 * MIB, 8: MIB}),
        (100 * MIB, {1: 200 * MIB}),
        (100 * MIB, {1: 0}),
        (100 * MIB, {0: 16 * MIB}),
        (100_000 * MIB, {1: 5 * MIB}),
        (0, {1: 0}),
    ],
)
def test_parts_of_something_else_have_no_cut(size: int, listed: dict[int, int]) -> None:
    assert step_of_listed(size, listed) is None


def test_the_last_part_alone_tells_the_size_of_the_others() -> None:
    assert step_of_listed(100 * MIB, {7: 4 * MIB}) == 16 * MIB
    assert step_of_listed(96 * MIB, {6: 16 * MIB}) == 16 * MIB
