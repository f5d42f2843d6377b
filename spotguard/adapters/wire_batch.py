"""Many small objects in one thread: a request on each of a few connections, answered in turn.

While an answer is read the next ones arrive in the kernel's buffers, so hardly a call waits, and no thread is woken for a single
object. Answers that are anything but a plain success end their connection: whoever asks again, alone, is told why.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from awscrt.checksums import crc64nvme

from spotguard.adapters.wire_body import thread_room
from spotguard.adapters.wire_connections import Connections, Place
from spotguard.ports.part_transfer import Slice

LANES = 4
"""Connections of one batch, each with one request under way."""
_HEAD_BYTES = 32 << 10


class Unusual(Exception):
    """An answer that is no plain success."""


class Batch:
    """`run` belongs to a thread, `break_off` to anybody."""

    def __init__(self, connections: Connections, place: Place, prepare: Callable[[], Iterable[bytes]], slices: Sequence[Slice]) -> None:
        """`prepare` makes the requests' heads, one for each slice; called in the thread, since signing may have to fetch credentials."""
        self._connections = connections
        self._place = place
        self._prepare = prepare
        self._slices = slices
        self._lock = threading.Lock()
        self._lanes: list[http.client.HTTPConnection] = []
        self._broken_off = False
        self.sums: list[int | None] = [None] * len(slices)
        """CRC64NVME of what came whole."""

    def run(self) -> None:
        """Bring what comes without trouble. Raises what `prepare` raises."""
        waiting: deque[tuple[http.client.HTTPConnection, int]] = deque()
        try:
            for number, head in enumerate(self._prepare()):
                if (lane := self._free_lane(waiting)) is None:
                    break
                waiting.append((lane, number))
                self._ask(lane, head)
            while waiting:
                self._hear(*waiting.popleft())
        except OSError:  # no connection can be had: what has not come by now is None
            pass
        finally:
            for lane, _ in waiting:
                self._drop(lane)
            with self._lock:
                lanes, self._lanes = self._lanes, []
            for lane in lanes:
                self._connections.give_back(self._place, lane)

    def break_off(self) -> None:
        """End it: `run` returns soon."""
        with self._lock:
            self._broken_off = True
            for lane in self._lanes:
                with contextlib.suppress(OSError):  # it has ended by itself
                    socket.socket.shutdown(lane.sock, socket.SHUT_RDWR)  # of the plain socket, also under TLS: wakes whoever waits for it

    def _free_lane(self, waiting: deque[tuple[http.client.HTTPConnection, int]]) -> http.client.HTTPConnection | None:
        """A connection on which nothing is under way; None when there is no hope for the rest. Raises OSError."""
        if len(waiting) == LANES:
            lane, number = waiting.popleft()
            if self._hear(lane, number):
                return lane
        elif idle := [lane for lane in self._lanes if all(lane is not busy for busy, _ in waiting)]:
            return idle[0]
        return self._new_lane()

    def _new_lane(self) -> http.client.HTTPConnection | None:
        lane, _ = self._connections.take(self._place)
        if lane.sock is None:
            lane.connect()
        with self._lock:
            if not self._broken_off:
                self._lanes.append(lane)
                return lane
        lane.close()
        return None

    def _ask(self, lane: http.client.HTTPConnection, head: bytes) -> None:
        with contextlib.suppress(OSError):  # a connection that was closed while idle: hearing finds out
            lane.sock.sendall(head)

    def _hear(self, lane: http.client.HTTPConnection, number: int) -> bool:
        """Whether the connection can be used again."""
        try:
            self.sums[number], closes = _answer(lane.sock, self._slices[number])
        except (OSError, Unusual) as error:
            self._drop(lane)
            if isinstance(error, TimeoutError):
                raise  # the others would take as long
            return False
        if closes:
            self._drop(lane)
        return not closes

    def _drop(self, lane: http.client.HTTPConnection) -> None:
        with self._lock:
            if lane in self._lanes:
                self._lanes.remove(lane)
        lane.close()


def _answer(link: socket.socket, into: Slice) -> tuple[int, bool]:
    """Write an answer's body to the slice: its CRC64NVME, and whether the connection ends with it.

    Raises OSError, also of the file, and Unusual for all but a success with exactly the bytes of the slice."""
    room = thread_room()
    got, begun, found = 0, b"", b""
    while not found:
        if got >= _HEAD_BYTES:
            raise Unusual
        got += _some(link, room[got:])
        begun, found, _ = bytes(room[: min(got, _HEAD_BYTES)]).partition(b"\r\n\r\n")
    head, start, size = begun.lower(), len(begun) + 4, into.size
    if not head.startswith(b"http/1.1 200") or _field(head, b"content-length") != str(size).encode() or b"\r\ntransfer-encoding:" in head:
        raise Unusual
    while got < start + size:
        got += _some(link, room[got:])
    if got > start + size:
        raise Unusual
    body = room[start:got]
    crc = int(crc64nvme(body))
    written = 0
    while written < size:
        written += os.pwrite(into.fd, body[written:], into.offset + written)
    return crc, _field(head, b"connection") == b"close"


def _some(link: socket.socket, view: memoryview) -> int:
    if not (got := link.recv_into(view)):
        raise ConnectionResetError("the store closed the connection")
    return got


def _field(head: bytes, name: bytes) -> bytes | None:
    """Of a head in lower case."""
    _, found, rest = head.partition(b"\r\n" + name + b":")
    return rest.partition(b"\r\n")[0].strip() if found else None
