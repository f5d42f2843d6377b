"""A body as one chunk of `aws-chunked`, with its checksum in a trailer, since it is known only when all has been read."""

from __future__ import annotations

from spotguard.core.checksum import encode_crc64

CRC_HEADER = "x-amz-checksum-crc64nvme"
TRAILER_HEADERS = {
    "content-encoding": "aws-chunked",
    "x-amz-trailer": CRC_HEADER,
    "x-amz-sdk-checksum-algorithm": "CRC64NVME",  # as the SDKs send beside the trailer; moto keeps no sum without
}


def before_body(size: int) -> bytes:
    return f"{size:x}\r\n".encode()


def after_body(crc64nvme: int) -> bytes:
    return f"\r\n0\r\n{CRC_HEADER}:{encode_crc64(crc64nvme)}\r\n\r\n".encode()
