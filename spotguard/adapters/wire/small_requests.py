"""What a batch is made of: one small object to fetch, or to create."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import NamedTuple

from spotguard.adapters.crc64 import crc64nvme
from spotguard.adapters.wire.aws_chunked import CRC_HEADER, after_body, before_body
from spotguard.adapters.wire.batch import Head
from spotguard.adapters.wire.body import thread_room
from spotguard.adapters.wire.lane import Lane
from spotguard.adapters.wire.small_answer import Unusual, field, read_answer
from spotguard.core.checksum import encode_crc64
from spotguard.ports.part_transfer import Slice

_BEFORE_BODY = 16 << 10
"""Room for a request's head in front of its body, so that both leave at once."""
_ERROR_BYTES = 64 << 10


class SmallFetch:
    """Writes an object of the size of a slice to it."""

    def __init__(self, into: Slice) -> None:
        self._into = into
        self.crc64nvme: int | None = None
        """Of what came, once it came whole."""

    def request(self, head: Head) -> bytes:
        return head(0, {})

    def hear(self, lane: Lane) -> bool:
        answer = read_answer(lane, most_bytes=self._into.size)
        if len(answer.body) != self._into.size:
            raise Unusual
        crc, written = crc64nvme(answer.body), 0
        while written < self._into.size:
            written += os.pwrite(self._into.fd, answer.body[written:], self._into.offset + written)
        self.crc64nvme = crc
        return answer.closes


class Created(NamedTuple):
    etag: str
    crc64nvme: int
    told: bool
    """Whether the store has told the same checksum."""


class SmallSend:
    """Sends a slice, which is not empty, as a whole object."""

    def __init__(self, body: Slice, *, framed: bool) -> None:
        """`framed`: as one chunk of `aws-chunked` with the checksum behind it; else with an MD5 before it."""
        self._body = body
        self._framed = framed
        self._crc = 0
        self.begun = False
        """Whether there was a connection to send it on."""
        self.created: Created | None = None

    def request(self, head: Head) -> memoryview:
        self.begun = True
        room, size = thread_room(), self._body.size
        end = _BEFORE_BODY + size
        content = room[_BEFORE_BODY:end]
        self._read(content)
        self._crc = crc64nvme(content)
        before, after, beside = b"", b"", {}
        if self._framed:
            before, after = before_body(size), after_body(self._crc)
        else:
            beside["content-md5"] = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        beside["content-length"] = str(len(before) + size + len(after))
        before = head(size, beside) + before
        if len(before) > _BEFORE_BODY:
            raise Unusual
        room[_BEFORE_BODY - len(before) : _BEFORE_BODY] = before
        room[end : end + len(after)] = after
        return room[_BEFORE_BODY - len(before) : end + len(after)]

    def hear(self, lane: Lane) -> bool:
        answer = read_answer(lane, most_bytes=_ERROR_BYTES)
        etag, told = field(answer.head, b"etag") or b"", field(answer.head, CRC_HEADER.encode())
        if len(etag) < 3 or etag.startswith(b'"') != etag.endswith(b'"'):
            raise Unusual
        if told is not None and told.decode("latin-1") != encode_crc64(self._crc):
            raise Unusual
        self.created = Created(etag.strip(b'"').decode("latin-1"), self._crc, told is not None)
        return answer.closes

    def _read(self, room: memoryview) -> None:
        got = 0
        while got < len(room):
            try:
                more = os.preadv(self._body.fd, [room[got:]], self._body.offset + got)
            except OSError as error:
                raise Unusual from error
            if not more:
                raise Unusual
            got += more
