"""What each kind of file must look like at its head and tail. Headers and tails are read, nothing is loaded or unpickled."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping
from typing import Any

from spotguard.adapters.zip_end import LOCAL_HEADER, fault_in_zip
from spotguard.core.structure import Finding, Structure

_JSON_LIMIT_BYTES = 64 << 20
_WHOLE_DOCUMENT_BYTES = 1 << 20
_LONGEST_LIST = 10_000
_SAFETENSORS_HEADER_LIMIT_BYTES = 100_000_000
"""`MAX_HEADER_SIZE` of the safetensors library."""

_PICKLE = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
_TAR_AT, _TAR = 257, b"ustar"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_BLOCK_BYTES = 4096


def examine(fd: int, size: int, structure: Structure) -> Finding:
    """The finding about an open file of that size. Raises OSError when reading fails."""
    if size == 0:
        return Finding(structure is Structure.ANY, "" if structure is Structure.ANY else "it is empty")
    if structure is Structure.JSON:
        return _examine_json(fd, size)
    check = _CHECKS.get(structure)
    fault = check(fd, size) if check else None
    return Finding(fault is None, fault or "")


def _safetensors(fd: int, size: int) -> str | None:
    """https://huggingface.co/docs/safetensors: 8 bytes of header length, a JSON header, the tensors without gaps."""
    head = os.pread(fd, 8, 0)
    if len(head) < 8:
        return "it ends within its header"
    length = struct.unpack("<Q", head)[0]
    if length > _SAFETENSORS_HEADER_LIMIT_BYTES:
        return "it has no safetensors header"
    if 8 + length > size:
        return "it ends within its header"
    try:
        header = json.loads(os.pread(fd, length, 8))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        wanted = 8 + length + max(ends, default=0)
    except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
        return "its safetensors header does not parse"
    return None if wanted == size else f"it has {size} of the {wanted} bytes that its header tells of"


def _zip(fd: int, size: int) -> str | None:
    if os.pread(fd, 4, 0)[:2] != LOCAL_HEADER[:2]:
        return "it is no zip"
    return fault_in_zip(fd, size)


def _torch(fd: int, size: int) -> str | None:
    """torch.save: a zip since 1.6; before, a pickle, which says nothing about its end, and before that a tar."""
    head = os.pread(fd, _TAR_AT + len(_TAR), 0)
    if head.startswith(_PICKLE) or head[_TAR_AT:] == _TAR:
        return None
    return fault_in_zip(fd, size) if head.startswith(LOCAL_HEADER[:2]) else "it is neither a torch zip nor a pickle"


def _binary(fd: int, size: int) -> str | None:
    head = os.pread(fd, _BLOCK_BYTES, 0)
    if head.startswith(LOCAL_HEADER):
        return fault_in_zip(fd, size)
    blank = not any(head) and not any(os.pread(fd, _BLOCK_BYTES, max(0, size - _BLOCK_BYTES)))
    return "it is blank: its bytes never reached the disk" if blank else None


def _hdf5(fd: int, size: int) -> str | None:
    """HDF5 file format 3.0, II.A: the superblock holds the address of the end of the file."""
    at = 0
    while os.pread(fd, len(_HDF5), at) != _HDF5:
        at = at * 2 or 512
        if at >= size:
            return "it has no HDF5 signature"
    block = os.pread(fd, 64, at)
    if len(block) < 52:
        return "it ends within its superblock"
    version = block[8]
    width = block[13] if version < 2 else block[9]
    if width != 8 or version > 3:
        return None  # nothing is known about the place of the address
    if version == 3 and block[11] & 1:
        return "it is open for writing"
    base_at = {0: 24, 1: 28}.get(version, 12)
    end_at = base_at + 16
    base, end = struct.unpack_from("<Q", block, base_at)[0], struct.unpack_from("<Q", block, end_at)[0]
    return None if size in (end, base + end) else f"it has {size} of the {max(end, base)} bytes that its superblock tells of"


_CHECKS: Mapping[Structure, Callable[[int, int], str | None]] = {
    Structure.SAFETENSORS: _safetensors,
    Structure.TORCH_ZIP: _torch,
    Structure.ZIP: _zip,
    Structure.BINARY: _binary,
    Structure.HDF5: _hdf5,
}


def _examine_json(fd: int, size: int) -> Finding:
    if size > _JSON_LIMIT_BYTES:
        ends = os.pread(fd, 64, 0).lstrip()[:1] + os.pread(fd, 64, size - 64).rstrip()[-1:]
        return Finding(ends in (b"{}", b"[]"), "" if ends in (b"{}", b"[]") else "its JSON does not end")
    text = _read(fd, size)
    try:
        document = json.loads(text)
    except RecursionError:
        return Finding(True)  # nested deeper than we follow: that is no sign of a torn file
    except ValueError as error:
        if getattr(error, "msg", "") == "Extra data" and _is_json(text.rstrip().rpartition(b"\n")[2]):
            return Finding(True)  # one document per line
        return Finding(False, "it does not parse as JSON")
    return Finding(True, document=_trimmed(document, size) if isinstance(document, dict) else {})


def _read(fd: int, size: int) -> bytes:
    content = bytearray()
    while len(content) < size and (chunk := os.pread(fd, size - len(content), len(content))):
        content += chunk
    return bytes(content)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _trimmed(document: dict[str, Any], size: int) -> dict[str, Any]:
    """What is worth remembering: of a large file only plain values and the shard names of a model's index."""
    if size <= _WHOLE_DOCUMENT_BYTES:
        return {key: value for key, value in document.items() if not (isinstance(value, list) and len(value) > _LONGEST_LIST)}
    return {key: value for key, value in document.items() if key == "weight_map" or not isinstance(value, (list, dict))}
