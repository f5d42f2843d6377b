"""A UBJSON document is walked by its lengths: whole to the byte, or not."""

from __future__ import annotations

import pytest

from spotguard.adapters.structure import ubjson
from tests.support.content import BytesContent

COUNT = (3).to_bytes(8, "big")
DOCUMENTS = [
    b"{}",
    b"[]",
    b"{i\x01ai\x05i\x01bTi\x01cSi\x02hi}",
    b"{L" + (1).to_bytes(8, "big") + b"a[$d#L" + COUNT + bytes(12) + b"}",
    b"{i\x01a[$i#i\x03\x01\x02\x03i\x01b[#i\x02Ti\x05}",
    b"{$i#i\x02i\x01a\x07i\x01b\x08",
    b"[{i\x01a[]}{i\x01bD" + bytes(8) + b"}]",
    b"{i\x01a[$S#i\x02i\x01xi\x02yz}",
]


@pytest.mark.parametrize("content", DOCUMENTS)
def test_a_whole_document_is_walked_to_its_end(content: bytes) -> None:
    ubjson.walk(BytesContent(content))


@pytest.mark.parametrize("content", DOCUMENTS)
def test_a_document_cut_off_anywhere_is_not_whole(content: bytes) -> None:
    for size in range(len(content)):
        with pytest.raises(ubjson.NotWhole):
            ubjson.walk(BytesContent(content[:size]))


@pytest.mark.parametrize("content", [b"{}{", b"text", b"{i\x01ax}", b"{i\xffa", b"[$x#i\x01", b"[#l\xff\xff\xff\xff", bytes(40)])
def test_what_is_no_document_is_not_whole(content: bytes) -> None:
    with pytest.raises(ubjson.NotWhole):
        ubjson.walk(BytesContent(content))


@pytest.mark.parametrize("content", [b"[" * 200 + b"]" * 200, b"[#L" + (10**12).to_bytes(8, "big") + b"T" * 6_000_000])
def test_a_document_of_too_many_values_is_left_alone(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ubjson, "_MOST_VALUES", 1000)
    with pytest.raises(ubjson.TooMany):
        ubjson.walk(BytesContent(content))


def test_a_chunk_may_end_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ubjson, "_CHUNK_BYTES", 3)
    for content in DOCUMENTS:
        ubjson.walk(BytesContent(content))
