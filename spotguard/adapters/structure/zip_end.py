"""Whether a zip has its end: torch.save, `.npz` and `.keras` write the directory last (PKWARE APPNOTE 4.3)."""

from __future__ import annotations

import struct

from spotguard.adapters.structure.content import Content

_END = b"PK\x05\x06"
_END_BYTES = 22
_LONGEST_COMMENT = 0xFFFF
_END_64 = b"PK\x06\x06"
_END_64_BYTES = 56
_LOCATOR_64 = b"PK\x06\x07"
_LOCATOR_64_BYTES = 20
_ENTRY = b"PK\x01\x02"

LOCAL_HEADER = b"PK\x03\x04"


def fault_in_zip(content: Content) -> str | None:
    """Why the end of the archive is not there, or None."""
    size = content.size
    start = max(0, size - _END_BYTES - _LONGEST_COMMENT)
    tail = content.read(size - start, start)
    at = len(tail)
    while (at := tail.rfind(_END, 0, at)) >= 0:
        if len(tail) - at >= _END_BYTES:
            entries, length, offset, comment = struct.unpack_from("<HIIH", tail, at + 10)
            if at + _END_BYTES + comment == len(tail):
                return _fault_in_directory(content, start + at, entries, length, offset)
    return "has no zip end record: it is cut off, or still being written"


def _fault_in_directory(content: Content, end: int, entries: int, length: int, offset: int) -> str | None:
    if 0xFFFFFFFF in (length, offset) or entries == 0xFFFF:
        locator = content.read(_LOCATOR_64_BYTES, max(0, end - _LOCATOR_64_BYTES))
        if locator.startswith(_LOCATOR_64) and len(locator) == _LOCATOR_64_BYTES:
            end = struct.unpack_from("<Q", locator, 8)[0]
            record = content.read(_END_64_BYTES, end) if end < 1 << 62 else b""
            if not record.startswith(_END_64) or len(record) < _END_64_BYTES:
                return "has no zip64 end record"
            entries, length, offset = struct.unpack_from("<QQQ", record, 32)
    if offset + length > end:
        return "has a zip directory that lies beyond its end"
    if entries and _ENTRY not in (content.read(4, offset), content.read(4, end - length)):
        return "has no zip directory where its end record says"
    return None
