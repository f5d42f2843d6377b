"""Sums of a file's slice as it is now. Blocking: for a thread."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from spotguard.adapters.crc64 import crc64nvme
from spotguard.ports.part_transfer import FileShrank, Slice

_BLOCK = 4 << 20


class Sums(NamedTuple):
    crc64nvme: int
    md5: bytes


def sums_of(source: Slice) -> Sums:
    """Raises FileShrank, OSError."""
    digest = hashlib.md5(usedforsecurity=False)
    crc = 0
    for block in _blocks(source):
        digest.update(block)
        crc = crc64nvme(block, crc)
    return Sums(crc, digest.digest())


def crc_of(source: Slice) -> int:
    """The CRC64NVME alone: an MD5 costs many times as much. Raises FileShrank, OSError."""
    crc = 0
    for block in _blocks(source):
        crc = crc64nvme(block, crc)
    return crc


def _blocks(source: Slice) -> Iterator[bytes]:
    done = 0
    while done < source.size:
        block = os.pread(source.fd, min(_BLOCK, source.size - done), source.offset + done)
        if not block:
            raise FileShrank(f"the file ends at {source.offset + done} bytes now: {source.offset + source.size} were to be sent")
        yield block
        done += len(block)
