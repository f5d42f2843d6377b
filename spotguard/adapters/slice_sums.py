"""Sums of a file's slice as it is now. Blocking: for a thread."""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

from awscrt.checksums import crc64nvme

from spotguard.ports.part_transfer import FileShrank, Slice

_BLOCK = 4 << 20


class Sums(NamedTuple):
    crc64nvme: int
    md5: bytes


def sums_of(source: Slice) -> Sums:
    """Raises FileShrank, OSError."""
    digest = hashlib.md5(usedforsecurity=False)
    crc = done = 0
    while done < source.size:
        block = os.pread(source.fd, min(_BLOCK, source.size - done), source.offset + done)
        if not block:
            raise FileShrank(f"the file ends at {source.offset + done} bytes now: {source.offset + source.size} were to be sent")
        digest.update(block)
        crc = crc64nvme(block, crc)
        done += len(block)
    return Sums(crc, digest.digest())
