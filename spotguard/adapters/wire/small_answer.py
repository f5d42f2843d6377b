"""The answer to a small request, read into the thread's own buffer with as few calls as it takes."""

from __future__ import annotations

from typing import NamedTuple

from spotguard.adapters.wire.body import thread_room
from spotguard.adapters.wire.lane import Lane

_HEAD_BYTES = 32 << 10


class Unusual(Exception):
    """Anything but a plain success: whoever asks again, alone, is told why."""


class SmallAnswer(NamedTuple):
    head: bytes
    body: memoryview
    """In the thread's own buffer."""

    @property
    def closes(self) -> bool:
        return b"close" in (field(self.head, b"connection") or b"").lower()


def read_answer(lane: Lane, *, most_bytes: int) -> SmallAnswer:
    """A success, whole, with a body of at most `most_bytes`. Raises OSError, and Unusual for anything else."""
    room = thread_room()
    got, head, found = 0, b"", b""
    while not found:
        if got >= _HEAD_BYTES:
            raise Unusual
        got += _some(lane, room[got:])
        head, found, _ = bytes(room[: min(got, _HEAD_BYTES)]).partition(b"\r\n\r\n")
    told = field(head, b"content-length") or b""
    if not head.startswith(b"HTTP/1.1 200") or not told.isdigit() or field(head, b"transfer-encoding") is not None:
        raise Unusual
    start, size = len(head) + 4, int(told)
    if size > most_bytes:
        raise Unusual
    while got < start + size:
        got += _some(lane, room[got:])
    if got > start + size:
        raise Unusual
    return SmallAnswer(head, room[start:got])


def field(head: bytes, name: bytes) -> bytes | None:
    """A header's value as it was written; `name` in lower case."""
    at = head.lower().find(b"\r\n" + name + b":")
    return None if at < 0 else head[at + 2 + len(name) + 1 :].partition(b"\r\n")[0].strip()


def _some(lane: Lane, view: memoryview) -> int:
    if not (got := lane.recv_into(view)):
        raise ConnectionResetError("the store closed the connection")
    return got
