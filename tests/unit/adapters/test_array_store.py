"""A file of an array store is walked by the lengths of its nodes and values: whole, cut off, or nothing to be told."""

from __future__ import annotations

import struct

import pytest

from spotguard.adapters.structure import array_store
from tests.support.content import BytesContent

BTREE_NODE = 0x0CDB20DE
MANIFEST = 0x0CDB3A2A
RAW, REPEATED, COMPRESSED = 0, 1, 2


def node(magic: int, body: bytes) -> bytes:
    return struct.pack(">I", magic) + struct.pack("<Q", 12 + len(body)) + body


def block(kind: int, body: bytes, *, last: bool, length: int | None = None) -> bytes:
    return ((len(body) if length is None else length) << 3 | kind << 1 | last).to_bytes(3, "little") + body


def frame(*blocks: bytes, descriptor: int = 0x60, fields: bytes = b"\x00\x0f", checksum: bytes = b"") -> bytes:
    """By default a single segment whose size takes two bytes, without a checksum: as TensorStore writes it."""
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + fields + b"".join(blocks) + checksum


VALUE = frame(block(COMPRESSED, bytes(range(200)), last=False), block(RAW, b"tail", last=True))
WHOLE = [
    node(MANIFEST, b"body" * 20),
    VALUE,
    VALUE + VALUE + node(BTREE_NODE, b"x" * 90),
    frame(block(REPEATED, b"\0", last=True, length=100_000)),
    frame(block(RAW, b"tail", last=True), descriptor=0x04, fields=b"\x50", checksum=b"abcd"),
    frame(block(RAW, b"tail", last=True), descriptor=0x83, fields=b"\x50" + b"dict" + b"size"),
    frame(block(RAW, b"tail", last=True), descriptor=0x20, fields=b"\x04"),
]


@pytest.mark.parametrize("content", WHOLE)
def test_a_whole_file_ends_where_its_last_item_ends(content: bytes) -> None:
    assert array_store.walk(BytesContent(content))


@pytest.mark.parametrize("content", WHOLE)
def test_a_file_cut_off_within_an_item_is_not_whole(content: bytes) -> None:
    ends = {len(VALUE), 2 * len(VALUE)}
    for size in range(1, len(content)):
        if size not in ends:
            with pytest.raises(array_store.CutOff):
                array_store.walk(BytesContent(content[:size]))


@pytest.mark.parametrize("content", [b"raw bytes of an array", VALUE + b"raw bytes", node(MANIFEST, b"")[:4] + bytes(8)])
def test_nothing_can_be_told_of_what_is_neither_node_nor_frame(content: bytes) -> None:
    assert not array_store.walk(BytesContent(content))


def test_a_walk_takes_only_so_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_store, "_MOST_STEPS", 10)
    assert not array_store.walk(BytesContent(VALUE * 20))
