"""Sends a body while it watches for an answer: a store may refuse early, stop reading and keep the connection open."""

from __future__ import annotations

import fcntl
import select
import socket
import ssl
import struct
import sys
import termios
import time
from collections.abc import Callable

from spotguard.adapters.wire.waiting import NOTHING_YET

_SOON_MS = 500
_PATIENCE_SECONDS = 0.008
"""How long a body may wait for its file and its connection before another one begins beside it. 16 MiB wait 4 ms in all where both cost
nothing, and need 180 at the 90 MB/s that S3 gives a connection."""
_TELLING_BYTES = 8 << 20
"""A body of less may disappear in the kernel's buffer, and tells nothing of the connection."""
_NEAR_BYTES_PER_SECOND = 200e6
_NEAR_MICROSECONDS = 1000
_NEAR_BUFFER_BYTES = 512 << 10
"""Of a connection that carries so much, and whose bytes are acknowledged so soon; the kernel makes twice of it, and no more than
net.core.wmem_max allows. By itself it lets the buffer grow to 4 MiB, which is right for a distant store; those of a near one only drive one
another out of the processor's cache. A slow connection would pay for a small one by being woken more often."""
_MIN_RTT_AT = 148
"""Of a `u32` in `struct tcp_info` (linux/tcp.h, since Linux 4.6): microseconds, the least of the last minutes."""


class AnsweredEarly(Exception):
    """The store has answered before it had all of the body; `arrived` is the beginning of what it says."""

    def __init__(self, arrived: bytes) -> None:
        super().__init__()
        self.arrived = arrived


class Sender:
    """Gives pieces of a body to a connected socket, which does not block while it is open."""

    def __init__(self, link: socket.socket, give_way: Callable[[], None]) -> None:
        """`give_way` is called, perhaps more than once, when it is not the processor that this body waits for."""
        self._link = link
        self._give_way = give_way
        self._patience = _PATIENCE_SECONDS
        self._began = self._idle_since = time.monotonic()
        self._sent = 0
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN | select.POLLOUT)
        self._timeout = link.gettimeout()
        self._stall_ms = None if self._timeout is None else self._timeout * 1000

    def __enter__(self) -> Sender:
        self._link.settimeout(0)  # with a timeout, Python would ask before each call whether there is room
        return self

    def __exit__(self, *_: object) -> None:
        self._link.settimeout(self._timeout)

    def send(self, piece: memoryview) -> None:
        """Raises AnsweredEarly, TimeoutError when nothing leaves the socket for as long as its timeout, OSError."""
        self._waited(self._idle_since)  # for the file
        self._sent += len(piece)
        while piece:
            try:
                piece = piece[self._link.send(piece) :]
            except ssl.SSLWantReadError:  # room alone would not do
                self._wait(select.POLLIN)
            except NOTHING_YET:
                self._wait(select.POLLIN | select.POLLOUT)
        self._idle_since = time.monotonic()

    def _waited(self, since: float) -> None:
        self._patience -= time.monotonic() - since
        if self._patience <= 0:
            self._give_way()

    def _wait(self, until: int) -> None:
        self._poll.modify(self._link, until)
        if self._ready(self._poll, "the store takes nothing") & select.POLLIN:
            self._look()

    def await_answer(self) -> None:
        """Wait until an answer begins: as long as the body still leaves the kernel's buffer, and a timeout longer. Raises TimeoutError."""
        if self._sent < _TELLING_BYTES:
            self._give_way()  # else its waiting would be all that such a body's turn is
        watch = select.poll()
        watch.register(self._link, select.POLLIN)
        self._ready(watch, "the store does not answer")
        if self._sent >= max(_TELLING_BYTES, _NEAR_BYTES_PER_SECOND * (time.monotonic() - self._began)) and _is_near(self._link):
            self._link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _NEAR_BUFFER_BYTES)

    def _ready(self, poll: select.poll, otherwise: str) -> int:
        """The events. Raises TimeoutError when none comes and nothing leaves the kernel's buffer: a slow link, or a paced one, needs long
        to empty a third of a large one, and only then the kernel says that there is room."""
        began = time.monotonic()
        if not (ready := poll.poll(self._patience * 1000) if self._patience > 0 else []):
            self._give_way()
            ready = poll.poll(_SOON_MS)
        self._waited(began)
        if ready:
            return ready[0][1]
        left = self._unsent()  # asked only now: most waits are short, and each call hands the interpreter's lock on
        while not (ready := poll.poll(self._stall_ms)):
            before, left = left, self._unsent()
            if left >= before:
                raise TimeoutError(otherwise)
        return ready[0][1]

    def _unsent(self) -> int:
        """Bytes that the kernel has and the peer has not acknowledged (tcp(7), SIOCOUTQ)."""
        answer = fcntl.ioctl(self._link.fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(answer, sys.byteorder)

    def _look(self) -> None:
        """Take what has arrived. Under TLS it may be no answer but the protocol's own."""
        try:
            arrived = self._link.recv(1 << 16)
        except NOTHING_YET:
            return
        if not arrived:
            raise ConnectionResetError("the store closed the connection")
        raise AnsweredEarly(arrived)


def _is_near(link: socket.socket) -> bool:
    told = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MIN_RTT_AT + 4)
    return len(told) == _MIN_RTT_AT + 4 and struct.unpack_from("=I", told, _MIN_RTT_AT)[0] < _NEAR_MICROSECONDS
