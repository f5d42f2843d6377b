"""The index of a TensorFlow checkpoint tells how long its data files must be, and a cut one tells nothing."""

from __future__ import annotations

import pytest

from spotguard.adapters.structure.tensor_bundle import NoIndex, shard_sizes
from tests.support.content import BytesContent
from tests.support.tensor_index import index_of


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("sizes", [(8583,), (10, 0, 5_000_000_000)])
def test_the_sizes_of_the_data_files_are_read(sizes: tuple[int, ...], blocks: int) -> None:
    assert shard_sizes(BytesContent(index_of(sizes, blocks=blocks))) == sizes


def test_an_index_cut_off_anywhere_is_none() -> None:
    content = index_of((100, 200))
    for size in range(1, len(content)):
        with pytest.raises(NoIndex):
            shard_sizes(BytesContent(content[:size]))


def test_an_index_with_its_middle_missing_is_none() -> None:
    content = index_of((100, 200))
    with pytest.raises(NoIndex):
        shard_sizes(BytesContent(content[-48:]))
    with pytest.raises(NoIndex):
        shard_sizes(BytesContent(bytes(len(content) - 48) + content[-48:]))
