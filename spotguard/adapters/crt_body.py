"""A file's slice as a request body, and as the place where an answer's body goes; both summed while the bytes are hot."""

from __future__ import annotations

import io
import os
from typing import Any

from awscrt.checksums import crc64nvme

from spotguard.ports.part_transfer import FileShrank, Slice


class FileBody(io.RawIOBase):
    """The bytes of a slice. The CRT reads it on its own thread, a whole part in one call (seen of 0.38), and may seek back.

    `crc64nvme` is of what was read last from the start on; `failure` the exception that made reading end."""

    def __init__(self, source: Slice) -> None:
        self._source = source
        self._at = 0
        self._summed = 0
        self._crc = 0
        self.failure: Exception | None = None
        self.abandoned = False
        """Set when nobody waits for the request any more: the descriptor may be another file's by now."""

    @property
    def crc64nvme(self) -> int:
        return self._crc

    @property
    def complete(self) -> bool:
        """Whether all of it was read and summed."""
        return self._summed == self._source.size and self.failure is None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence]
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._source.size - self._at)
        if wanted <= 0:
            return 0
        try:
            return self._fill(memoryview(buffer)[:wanted])
        except (OSError, FileShrank, io.UnsupportedOperation) as error:
            self.failure = error
            raise

    def _fill(self, view: memoryview) -> int:
        if self.abandoned:
            raise io.UnsupportedOperation("nobody waits for this request any more")
        if self._at == 0:
            self._summed = self._crc = 0  # it is sent again from the start
        elif self._at != self._summed:
            raise io.UnsupportedOperation("a body is read from its start or from where it was left")
        got = os.preadv(self._source.fd, [view], self._source.offset + self._at)
        if not got:
            end, wanted = self._source.offset + self._at, self._source.offset + self._source.size
            raise FileShrank(f"the file ends at {end} bytes now: {wanted} were to be sent")
        self._crc = int(crc64nvme(view[:got], self._crc))
        self._at += got
        self._summed = self._at
        return got


class FileSink:
    """Writes an answer's body to a slice; raises in the CRT's thread, which ends the request, when it is longer than that."""

    def __init__(self, into: Slice) -> None:
        self._into = into
        self.received = 0
        self.crc64nvme = 0
        self.failure: Exception | None = None
        self.abandoned = False

    def write(self, chunk: Any) -> None:
        try:
            self._write(memoryview(chunk))
        except (OSError, ValueError) as error:
            self.failure = error
            raise

    def _write(self, view: memoryview) -> None:
        if self.abandoned:
            raise ValueError("nobody waits for this request any more")
        if self.received + len(view) > self._into.size:
            raise ValueError(f"the answer has more than the {self._into.size} bytes asked for")
        self.crc64nvme = int(crc64nvme(view, self.crc64nvme))
        while view:
            written = os.pwrite(self._into.fd, view, self._into.offset + self.received)
            self.received += written
            view = view[written:]
