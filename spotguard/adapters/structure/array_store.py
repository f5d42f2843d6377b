"""Whether a file of an array store (TensorStore's OCDBT, in which Orbax keeps arrays) is there to its end. Nothing is decompressed.

https://google.github.io/tensorstore/kvstore/ocdbt: a manifest and each node of a tree begin with a magic number and their length. A data
file holds such nodes and values; a value is a compressed piece of an array, by default a Zstandard frame (RFC 8878), which is a header
and blocks that tell their lengths. Where something else begins nothing more can be told.
"""

from __future__ import annotations

import struct

from spotguard.adapters.structure.content import Content

_NODES = (0x0CDB3A2A, 0x0CDB1234, 0x0CDB20DE)
"""Manifest, version tree node, B+tree node."""
_NODE_HEADER = struct.Struct(">I")
_NODE_LENGTH = struct.Struct("<Q")
_NODE_HEADER_BYTES = 12
_FRAME = b"\x28\xb5\x2f\xfd"
_FIRST_BYTES = (b"\x0c", _FRAME[:1])
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_DICTIONARY_BYTES = (0, 1, 2, 4)
_REPEATED = 1
_MOST_STEPS = 1_000_000
"""A block is at most 128 KiB: enough for 100 GB, and a second or two."""


class CutOff(Exception):
    """The file ends within a node or a value."""


def walk(content: Content) -> bool:
    """True when it ends where a node or value ends, False when that cannot be told. Raises CutOff, OSError."""
    at = steps = 0
    while at < content.size:
        head = content.read(_NODE_HEADER_BYTES, at)
        if head.startswith(_FRAME):
            at, steps = _after_frame(content, at, steps)
        elif len(head) == _NODE_HEADER_BYTES and _NODE_HEADER.unpack_from(head)[0] in _NODES:
            length = _NODE_LENGTH.unpack_from(head, _NODE_HEADER.size)[0]
            if length < _NODE_HEADER_BYTES:
                return False
            at += length
        elif len(head) < _NODE_HEADER_BYTES and head[:1] in _FIRST_BYTES:
            raise CutOff("ends within a header: it is cut off, or still being written")
        else:
            return False
        steps += 1
        if steps > _MOST_STEPS:
            return False
    if at > content.size:
        raise CutOff(f"has {content.size} of at least {at} bytes: it is cut off, or still being written")
    return True


def _after_frame(content: Content, at: int, steps: int) -> tuple[int, int]:
    """Where the frame ends, which may lie beyond the end of the file, and the steps taken so far."""
    head = content.read(5, at)
    if len(head) < 5:
        return content.size + 1, steps
    descriptor = head[4]
    single, checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
    sized = _CONTENT_SIZE_BYTES[descriptor >> 6] or single
    at += 5 + (1 - single) + _DICTIONARY_BYTES[descriptor & 3] + sized
    last = 0
    while not last and steps <= _MOST_STEPS:
        block = content.read(3, at)
        if len(block) < 3:
            return content.size + 1, steps
        header = int.from_bytes(block, "little")
        last, kind, length = header & 1, header >> 1 & 3, header >> 3
        at += 3 + (1 if kind == _REPEATED else length)
        steps += 1
    return at + 4 * checksum, steps
