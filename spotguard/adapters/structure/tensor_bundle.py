"""What the index of a TensorFlow checkpoint tells of its data files: how many there are, and how long each must at least be.

`tensorflow/core/util/tensor_bundle` (`BundleHeaderProto`, `BundleEntryProto` in tensor_bundle.proto) in a table as LevelDB's
table_format.md has it: blocks of entries whose keys share prefixes, an index of the blocks, a footer with the index's place and a magic
number. The writer compresses no block. The index is written after the data, and a merge of shards renames before it writes it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from spotguard.adapters.structure.content import Content

_FOOTER_BYTES = 48
_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_TRAILER_BYTES = 5
"""After each block: a byte that says how it is compressed, and a checksum."""
_LIMIT_BYTES = 256 << 20


class NoIndex(Exception):
    """It is cut off, or no index of a TensorFlow checkpoint."""


def shard_sizes(content: Content) -> tuple[int, ...]:
    """For each data file, by its number, the bytes that it must at least have. Raises NoIndex, OSError."""
    footer = content.read(_FOOTER_BYTES, max(0, content.size - _FOOTER_BYTES))
    if footer[-len(_MAGIC) :] != _MAGIC:
        raise NoIndex("has no table footer: it is cut off, or still being written")
    if content.size > _LIMIT_BYTES:
        raise NoIndex(f"is larger than the {_LIMIT_BYTES} bytes of an index")
    try:
        return _sizes(content.read(content.size, 0), footer)
    except (IndexError, ValueError, struct.error) as error:
        raise NoIndex("is no index of a TensorFlow checkpoint") from error


def _sizes(content: bytes, footer: bytes) -> tuple[int, ...]:
    _, at = _handle(footer, 0)
    index_block, _ = _handle(footer, at)
    sizes: list[int] = []
    for _, place in _entries(content, index_block):
        for key, value in _entries(content, _handle(place, 0)[0]):
            fields = dict(_varints(value))
            if not key:
                count = fields.get(1, 0)
                if not 0 < count <= len(content) * 100:
                    raise ValueError(count)
                sizes = [0] * count
            elif fields.get(5):
                shard = fields.get(3, 0)
                sizes[shard] = max(sizes[shard], fields.get(4, 0) + fields[5])
    if not sizes:
        raise ValueError("no header entry")
    return tuple(sizes)


def _handle(text: bytes, at: int) -> tuple[tuple[int, int], int]:
    """((offset, size) of a block, where the text goes on)."""
    offset, at = _varint(text, at)
    size, at = _varint(text, at)
    return (offset, size), at


def _entries(content: bytes, handle: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    offset, size = handle
    block = content[offset : offset + size]
    if len(block) != size or content[offset + size] != 0 or offset + size + _TRAILER_BYTES > len(content):
        raise ValueError("a block that is not there, or compressed")
    end = size - 4 - 4 * struct.unpack_from("<I", block, size - 4)[0]
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        rest, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + rest]
        at += rest
        yield key, block[at : at + length]
        at += length


def _varints(message: bytes) -> Iterator[tuple[int, int]]:
    """(field, value) of the varint fields of a protocol buffer message; the others are passed over."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        match tag & 7:
            case 0:
                value, at = _varint(message, at)
                yield tag >> 3, value
            case 1:
                at += 8
            case 2:
                length, at = _varint(message, at)
                at += length
            case 5:
                at += 4
            case _:
                raise ValueError(tag)


def _varint(text: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = text[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if not byte & 0x80:
            return value, at
        shift += 7
