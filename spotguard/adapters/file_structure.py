"""A cheap look into one open file: is it all there? Nothing but the standard library, as training scripts use it too.

Nothing is unpickled and no tensor is loaded. What cannot be told passes: a checkpoint that is never stored is the greater harm.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any

from spotguard.core.structure import Finding, Structure

_MOST_JSON_BYTES = 64 << 20
_MOST_HEADER_BYTES = 100 << 20
"""What the safetensors library itself accepts."""
_LONGEST_LIST = 10_000
_ZIP = b"PK\x03\x04"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_BLANK_BYTES = 4096


def finding_of(fd: int, structure: Structure) -> Finding:
    """What the open file's inside tells of its being whole. Raises OSError. Its offset is not used."""
    size = os.fstat(fd).st_size
    if size == 0:
        return Finding(structure is Structure.ANY, "" if structure is Structure.ANY else "is empty")
    match structure:
        case Structure.JSON:
            return _json(fd, size)
        case Structure.SAFETENSORS:
            return _verdict(_safetensors_fault(fd, size))
        case Structure.ZIP:
            return _verdict(_zip_fault(fd))
        case Structure.TORCH_ZIP | Structure.BINARY:
            return _verdict(_zip_fault(fd) if os.pread(fd, 4, 0) == _ZIP else _blank_fault(fd))
        case Structure.HDF5:
            return _verdict(_hdf5_fault(fd, size))
        case _:
            return Finding(True)


def _verdict(fault: str | None) -> Finding:
    return Finding(fault is None, fault or "")


def _json(fd: int, size: int) -> Finding:
    if size > _MOST_JSON_BYTES:
        whole = os.pread(fd, 64, size - 64).rstrip()[-1:] in {b"}", b"]"}
        return Finding(whole, "" if whole else "does not end as JSON does")
    try:
        document = json.loads(_read(fd, size, 0))
    except (ValueError, RecursionError):
        return Finding(False, "is no JSON yet")
    return Finding(True, "", _without_long_lists(document) if isinstance(document, dict) else {})


def _without_long_lists(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if not (isinstance(value, list) and len(value) > _LONGEST_LIST)}


def _safetensors_fault(fd: int, size: int) -> str | None:
    """Eight bytes little endian tell the length of a JSON header, which tells where each tensor ends."""
    length = int.from_bytes(os.pread(fd, 8, 0), "little")
    if length > _MOST_HEADER_BYTES:
        return "its header tells a length that cannot be"
    if size < 8 + length:
        return "its header is cut off"
    try:
        header = json.loads(_read(fd, length, 8))
        ends = [int(tensor["data_offsets"][1]) for name, tensor in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return "its header does not parse"
    wanted = 8 + length + max(ends, default=0)
    return None if size == wanted else f"has {size} bytes, its header tells of {wanted}"


def _zip_fault(fd: int) -> str | None:
    """The record that a zip ends with is written last."""
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)  # a duplicate shares its offset with the original; whoever reads that uses pread
        return None if zipfile.is_zipfile(file) else "the record that ends a zip is not there"


def _blank_fault(fd: int) -> str | None:
    """Whether nothing but zeros was written yet: a file whose size was set before its content came."""
    return None if os.pread(fd, _BLANK_BYTES, 0).strip(b"\0") else "begins with nothing but zeros"


def _hdf5_fault(fd: int, size: int) -> str | None:
    """The superblock tells where the file ends (HDF5 File Format Specification, level 0A)."""
    head = os.pread(fd, 128, 0)
    if not head.startswith(_HDF5):
        return "does not begin as HDF5 does" if not head.strip(b"\0") else None  # it may begin with a block of its user's
    version = head[8] if len(head) > 8 else 255
    offsets_at, first = {0: (13, 24), 1: (13, 28), 2: (9, 12), 3: (9, 12)}.get(version, (0, 0))
    if not first or len(head) < 64:
        return None if len(head) >= 64 else "its superblock is cut off"
    if version == 3 and head[11] & 1:
        return "is still open for writing"
    width = head[offsets_at]
    end = int.from_bytes(head[first + 2 * width : first + 3 * width], "little")
    return None if size >= end else f"has {size} bytes, its superblock tells of {end}"


def _read(fd: int, size: int, offset: int) -> bytes:
    """A read may give less than was asked for, and gives no more than 2 GiB."""
    pieces = []
    while size > 0 and (piece := os.pread(fd, size, offset)):
        pieces.append(piece)
        size, offset = size - len(piece), offset + len(piece)
    return b"".join(pieces)
