"""The index of a TensorFlow checkpoint as TensorFlow writes it: a table of protocol buffer messages, in as few bytes as possible."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)


def index_of(sizes: Sequence[int], *, blocks: int = 1) -> bytes:
    """For data files of these sizes, with two tensors in each. The entries are spread over so many blocks."""
    entries = [(b"", _message((1, len(sizes))))]
    for shard, size in enumerate(sizes):
        half = size // 2
        entries.append((b"layer-%05d/a" % shard, _message((3, shard), (5, half), (6, None))))
        entries.append((b"layer-%05d/b" % shard, _message((3, shard), (4, half), (5, size - half), (6, None))))
    table = b""
    places = []
    per_block = -(-len(entries) // blocks)
    for start in range(0, len(entries), per_block):
        part = entries[start : start + per_block]
        places.append((part[-1][0], len(table), len(block := _block(part))))
        table += block + b"\0" + bytes(4)
    meta = len(table)
    table += (empty := _block([])) + b"\0" + bytes(4)
    index = len(table)
    table += (block := _block([(key, _varint(at) + _varint(size)) for key, at, size in places])) + b"\0" + bytes(4)
    footer = _varint(meta) + _varint(len(empty)) + _varint(index) + _varint(len(block))
    return table + footer.ljust(40, b"\0") + _MAGIC


def _block(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    text, before = b"", b""
    for key, value in entries:
        shared = next((at for at, (one, other) in enumerate(zip(key, before, strict=False)) if one != other), min(len(key), len(before)))
        text += _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
        before = key
    return text + struct.pack("<II", 0, 1)


def _message(*fields: tuple[int, int | None]) -> bytes:
    """Fields that are 0 are left out; None stands for a checksum of four bytes."""
    text = b""
    for number, value in fields:
        if value is None:
            text += _varint(number << 3 | 5) + b"\1\2\3\4"
        elif value:
            text += _varint(number << 3) + _varint(value)
    return text


def _varint(value: int) -> bytes:
    text = b""
    while value >= 0x80:
        text += bytes([value & 0x7F | 0x80])
        value >>= 7
    return text + bytes([value])
