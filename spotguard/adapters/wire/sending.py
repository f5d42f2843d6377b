"""Sends a body while it watches for an answer: a store may refuse early, stop reading and keep the connection open."""

from __future__ import annotations

import fcntl
import select
import socket
import ssl
import sys
import termios

from spotguard.adapters.wire.waiting import NOTHING_YET

_SOON_MS = 500


class AnsweredEarly(Exception):
    """The store has answered before it had all of the body; `arrived` is the beginning of what it says."""

    def __init__(self, arrived: bytes) -> None:
        super().__init__()
        self.arrived = arrived


class Sender:
    """Gives pieces of a body to a connected socket, which does not block while it is open."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
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
        while piece:
            try:
                piece = piece[self._link.send(piece) :]
            except ssl.SSLWantReadError:  # room alone would not do
                self._wait(select.POLLIN)
            except NOTHING_YET:
                self._wait(select.POLLIN | select.POLLOUT)

    def _wait(self, until: int) -> None:
        self._poll.modify(self._link, until)
        if self._ready(self._poll, "the store takes nothing") & select.POLLIN:
            self._look()

    def await_answer(self) -> None:
        """Wait until an answer begins: as long as the body still leaves the kernel's buffer, and a timeout longer. Raises TimeoutError."""
        watch = select.poll()
        watch.register(self._link, select.POLLIN)
        self._ready(watch, "the store does not answer")

    def _ready(self, poll: select.poll, otherwise: str) -> int:
        """The events. Raises TimeoutError when none comes and nothing leaves the kernel's buffer: a slow link, or a paced one, needs long
        to empty a third of a large one, and only then the kernel says that there is room."""
        if ready := poll.poll(_SOON_MS):
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
