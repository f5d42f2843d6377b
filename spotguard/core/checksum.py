"""How a CRC64NVME is written: S3 and the manifest use base64 of its 8 bytes, big endian."""

from __future__ import annotations

import base64


def encode_crc64(value: int) -> str:
    return base64.b64encode(value.to_bytes(8, "big")).decode("ascii")


def decode_crc64(text: str) -> int:
    """Raises ValueError for anything but base64 of 8 bytes."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) != 8:
        raise ValueError(f"{text!r} is not a CRC64NVME")
    return int.from_bytes(raw, "big")
