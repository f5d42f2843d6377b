"""A cheap look into one file: is it all there? Nothing but the standard library, as training scripts use it too.

Headers and tails are read; nothing is unpickled and no tensor is loaded. What cannot be told passes, for a checkpoint that is never
stored is the greater harm, unless the bytes are blank.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping
from typing import Any

from spotguard.adapters.structure import array_store, ubjson
from spotguard.adapters.structure.content import Content
from spotguard.adapters.structure.dcp_metadata import CutOff, shards_in
from spotguard.adapters.structure.tensor_bundle import NoIndex, shard_sizes
from spotguard.adapters.structure.zip_end import LOCAL_HEADER, fault_in_zip
from spotguard.core.structure import Finding, Structure

_JSON_LIMIT_BYTES = 64 << 20
_WHOLE_DOCUMENT_BYTES = 1 << 20
_LONGEST_LIST = 10_000
_SAFETENSORS_HEADER_LIMIT_BYTES = 100_000_000
"""`MAX_HEADER_SIZE` of the safetensors library."""

_HDF5 = b"\x89HDF\r\n\x1a\n"
_PICKLES = (b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How a pickle of Python 3 begins. Legacy torch files are pickles of protocol 2 with raw bytes behind them."""
_ONE_VALUE_BYTES = 64
"""So small a file may hold a single number, and that may be zero."""
_STOP = b"."
_TEXT_LIMIT_BYTES = 64 << 10
_BLOCK_BYTES = 4096


class OpenFile:
    """The content of an open file. Its offset is neither used nor moved; raises OSError."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def read(self, count: int, offset: int) -> bytes:
        return os.pread(self._fd, count, offset)


def finding_of(fd: int, structure: Structure) -> Finding:
    """What the open file's inside tells of its being whole. Raises OSError."""
    return finding_in(OpenFile(fd), structure)


def finding_in(content: Content, structure: Structure) -> Finding:
    """The same for content wherever it is; raises what reading it raises."""
    if content.size == 0:
        return Finding(structure is Structure.ANY, "" if structure is Structure.ANY else "is empty")
    if opened := _DOCUMENTS.get(structure):
        return opened(content)
    check = _CHECKS.get(structure)
    fault = check(content) if check else None
    return Finding(fault is None, fault or "", ended=fault is None and _has_an_end(content, structure))


def _has_an_end(content: Content, structure: Structure) -> bool:
    """Of a file without a fault. HDF5 is written in any order, so that its size alone proves nothing."""
    if structure in (Structure.TORCH_ZIP, Structure.BINARY):
        return content.read(len(LOCAL_HEADER), 0) == LOCAL_HEADER
    return structure in (Structure.ZIP, Structure.SAFETENSORS, Structure.UBJSON)


def _safetensors(content: Content) -> str | None:
    """https://huggingface.co/docs/safetensors: 8 bytes of header length, a JSON header, the tensors without gaps."""
    head = content.read(8, 0)
    if len(head) < 8:
        return "ends within its header"
    length = struct.unpack("<Q", head)[0]
    if length > _SAFETENSORS_HEADER_LIMIT_BYTES:
        return "has no safetensors header"
    if 8 + length > content.size:
        return "ends within its header"
    try:
        header = json.loads(content.read(length, 8))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        wanted = 8 + length + max(ends, default=0)
    except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
        return "has a safetensors header that does not parse"
    return None if wanted == content.size else f"has {content.size} of the {wanted} bytes that its header tells of"


def _torch(content: Content) -> str | None:
    """torch.save writes a zip since 1.6; before, a pickle, of which no end can be told. Others use the suffixes for what they like."""
    return fault_in_zip(content) if content.read(2, 0) == LOCAL_HEADER[:2] else _blank(content)


def _binary(content: Content) -> str | None:
    if content.read(2, 0) in _PICKLES and content.read(1, content.size - 1) != _STOP:
        return "is a pickle without its end: it is cut off, or still being written"
    return _torch(content)


def _blank(content: Content) -> str | None:
    """Whether the size was set and the bytes never came: zeros at both ends. (Some raw formats begin with zeros.)"""
    if content.size <= _ONE_VALUE_BYTES:
        return None
    ends = content.read(_BLOCK_BYTES, 0), content.read(_BLOCK_BYTES, max(0, content.size - _BLOCK_BYTES))
    return None if any(map(any, ends)) else "is blank: its bytes never reached the disk"


def _hdf5(content: Content) -> str | None:
    """HDF5 file format 3.0, II.A: the superblock holds the address of the end of the file."""
    at = 0
    while content.read(len(_HDF5), at) != _HDF5:
        at = at * 2 or 512
        if at >= content.size:
            return "has no HDF5 signature"
    block = content.read(64, at)
    if len(block) < 52:
        return "ends within its superblock"
    version = block[8]
    width = block[13] if version < 2 else block[9]
    if width != 8 or version > 3:
        return None  # nothing is known about the place of the address
    if version == 3 and block[11] & 1:
        return "is open for writing"
    base_at = {0: 24, 1: 28}.get(version, 12)
    end_at = base_at + 16
    base, end = struct.unpack_from("<Q", block, base_at)[0], struct.unpack_from("<Q", block, end_at)[0]
    return None if content.size in (end, base + end) else f"has {content.size} of the {max(end, base)} bytes that its superblock tells of"


def _ubjson(content: Content) -> str | None:
    try:
        ubjson.walk(content)
    except ubjson.NotWhole as error:
        return str(error)
    except ubjson.TooMany:
        return None if content.read(1, content.size - 1) in (b"}", b"]") else "does not end as UBJSON does"
    return None


def _array_store(content: Content) -> Finding:
    try:
        return Finding(True, ended=array_store.walk(content))
    except array_store.CutOff as error:
        return Finding(False, str(error))


def _tensor_index(content: Content) -> Finding:
    try:
        return Finding(True, document={"data_bytes": shard_sizes(content)}, ended=True)
    except NoIndex as error:
        return Finding(False, str(error))


_CHECKS: Mapping[Structure, Callable[[Content], str | None]] = {
    Structure.SAFETENSORS: _safetensors,
    Structure.TORCH_ZIP: _torch,
    Structure.ZIP: fault_in_zip,
    Structure.BINARY: _binary,
    Structure.HDF5: _hdf5,
    Structure.UBJSON: _ubjson,
}


def _text(content: Content) -> Finding:
    if content.size > _TEXT_LIMIT_BYTES:
        return Finding(False, f"is larger than the {_TEXT_LIMIT_BYTES} bytes of a pointer file")
    try:
        return Finding(True, document={"text": _read(content).decode()})
    except UnicodeDecodeError:
        return Finding(False, "is no text")


def _dcp_metadata(content: Content) -> Finding:
    try:
        return Finding(True, document={"shards": shards_in(content)}, ended=True)
    except CutOff as fault:
        return Finding(False, str(fault))


def _json(content: Content) -> Finding:
    if content.size > _JSON_LIMIT_BYTES:
        ends = content.read(64, content.size - 64).rstrip()[-1:] in (b"}", b"]")
        return Finding(ends, "" if ends else "does not end as JSON does")
    text = _read(content)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        one_per_line = getattr(error, "msg", "") == "Extra data" and _is_json(text.rstrip().rpartition(b"\n")[2])
        return Finding(one_per_line, "" if one_per_line else "is no JSON yet")
    return Finding(True, document=_trimmed(document, content.size) if isinstance(document, dict) else {})


def _read(content: Content) -> bytes:
    found = bytearray()
    while len(found) < content.size and (chunk := content.read(content.size - len(found), len(found))):
        found += chunk
    return bytes(found)


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


_DOCUMENTS: Mapping[Structure, Callable[[Content], Finding]] = {
    Structure.JSON: _json,
    Structure.TEXT: _text,
    Structure.TENSOR_INDEX: _tensor_index,
    Structure.ARRAY_STORE: _array_store,
    Structure.DCP_METADATA: _dcp_metadata,
}
