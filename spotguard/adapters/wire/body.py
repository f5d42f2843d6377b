"""A file's slice as a request body, and as the place where an answer's body goes; both summed while the bytes are hot."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable
from typing import Protocol

from spotguard.adapters.crc64 import crc64nvme
from spotguard.adapters.wire.aws_chunked import after_body, before_body
from spotguard.ports.part_transfer import FileShrank, Slice

SENT_BYTES = 1 << 20
"""What is read, summed and sent at a time. Measured: from 128 KiB to 1 MiB the CPU of one thread per byte is the same, and with eight
threads each call less is a handing over of the interpreter's lock less."""
TAKEN_BYTES = 4 << 20
"""What is read, summed and written at a time of what arrives. Measured: 5 % less time and 8 % less CPU for a restore than in pieces of
1 MiB, and no more in larger ones."""
_ROOM_BYTES = SENT_BYTES + (32 << 10)  # for the framing, or the head of an answer
_of_thread = threading.local()


class Body(Protocol):
    """What is sent with a request."""

    failure: Exception | None
    """What made reading it end."""

    @property
    def size(self) -> int:
        """Bytes of content."""
        ...

    def send(self, send: Callable[[memoryview], object]) -> None:
        """Give everything to `send`, from the start. Raises what that raises, and what reading comes to."""
        ...


class BytesBody:
    """Content that is at hand."""

    failure: Exception | None = None

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def size(self) -> int:
        return len(self._content)

    def send(self, send: Callable[[memoryview], object]) -> None:
        send(memoryview(self._content))


class FileBody:
    """The bytes of a slice. `crc64nvme` is of exactly the bytes that were given to the connection; `failure` what made reading end.

    `framed`: sent as one chunk of `aws-chunked`, with the sum in a trailer, since it is known only when all has been read."""

    def __init__(self, source: Slice, *, framed: bool) -> None:
        self._source = source
        self._before = before_body(source.size) if framed else b""
        self._framed = framed
        self.crc64nvme = 0
        self.given = 0
        """Bytes of the slice that were given to a connection, all attempts together."""
        self.failure: Exception | None = None

    @property
    def size(self) -> int:
        """Of the slice."""
        return self._source.size

    @property
    def content_length(self) -> int:
        """Of the body as it is sent."""
        return len(self._before) + self._source.size + len(self._after())

    def send(self, send: Callable[[memoryview], object]) -> None:
        """Read, sum and send everything, from the start. Raises what `send` raises, and OSError and FileShrank of reading."""
        room = thread_room()
        self.crc64nvme = at = 0
        room[: len(self._before)] = self._before
        end = len(self._before)
        while at < self._source.size:
            got = self._read(room[end : end + min(SENT_BYTES, self._source.size - at)], at)
            at, end = at + got, end + got
            if at == self._source.size:
                after = self._after()
                room[end : end + len(after)] = after
                end += len(after)
            self.given += got
            send(room[:end])
            end = 0

    def _read(self, view: memoryview, at: int) -> int:
        try:
            got = os.preadv(self._source.fd, [view], self._source.offset + at)
            if not got:
                end, wanted = self._source.offset + at, self._source.offset + self._source.size
                raise FileShrank(f"the file ends at {end} bytes now: {wanted} were to be sent")
        except (OSError, FileShrank) as error:
            self.failure = error
            raise
        self.crc64nvme = crc64nvme(view[:got], self.crc64nvme)
        return got

    def _after(self) -> bytes:
        return after_body(self.crc64nvme) if self._framed else b""


class FileSink:
    """Writes an answer's body to a slice, and refuses to write more than that."""

    def __init__(self, into: Slice) -> None:
        self._into = into
        self.received = 0
        self.crc64nvme = 0
        self.failure: Exception | None = None

    def receive(self, read_into: Callable[[memoryview], int]) -> None:
        """Take all that `read_into` has. Raises what it raises, OSError of writing, ValueError for more than the slice holds."""
        room = thread_room(TAKEN_BYTES)
        self.received = self.crc64nvme = 0
        while got := read_into(room):
            try:
                self._write(room[:got])
            except (OSError, ValueError) as error:
                self.failure = error
                raise

    def _write(self, view: memoryview) -> None:
        if self.received + len(view) > self._into.size:
            raise ValueError(f"the answer has more than the {self._into.size} bytes asked for")
        self.crc64nvme = crc64nvme(view, self.crc64nvme)
        while view:
            written = os.pwrite(self._into.fd, view, self._into.offset + self.received)
            self.received += written
            view = view[written:]


def thread_room(size: int = _ROOM_BYTES) -> memoryview:
    """This thread's own buffer, of at least so many bytes; by itself a piece and a little more."""
    room: memoryview | None = getattr(_of_thread, "room", None)
    if room is None or len(room) < size:
        room = _of_thread.room = memoryview(mmap.mmap(-1, size))  # which goes back to the system with its thread
    return room
