"""Reads answers' bodies from many connections, but from few at a time.

Each of a TLS connection's reads brings 16 KiB at most and hands the interpreter's lock on and back; eight threads that all read fight for
it, and spend more on that than on the bytes. So a thread waits for its connection without the lock, and then for its turn.
"""

from __future__ import annotations

import http.client
import queue
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from spotguard.adapters.wire.waiting import wait_for

_AT_A_TIME = 2
"""One alone would stand still with every blocking call. Measured with 1, 2 and 3, at eight connections, with and without TLS."""


class Turns:
    """For several threads: who may read."""

    def __init__(self, at_a_time: int = _AT_A_TIME) -> None:
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()  # its waiting is C code; that of threading.Semaphore is not
        for _ in range(at_a_time):
            self._free.put(None)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait until fewer than that many others read."""
        self._free.get()
        try:
            yield
        finally:
            self._free.put(None)


class Receiver:
    """The body of an answer whose length is told, from a connected socket, which does not block while this is open."""

    def __init__(self, link: socket.socket, response: http.client.HTTPResponse, turns: Turns) -> None:
        """`response`: its head is read, and its `length` known. Whoever closes it then has a connection that can be used again."""
        self._link = link
        self._response = response
        self._turns = turns
        self._timeout = link.gettimeout()
        self._ahead = b""
        """What was read of the body together with the head."""
        self._left = response.length or 0
        """What the socket has still to bring."""
        self._await = 0
        """For which event of the socket to wait before anything else; none at first, since TLS may have bytes that poll does not show."""

    def __enter__(self) -> Receiver:
        if self._left:
            self._ahead = self._response.read(min(self._left, len(self._response.fp.peek())))
            self._left -= len(self._ahead)
        if self._left:
            self._link.settimeout(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._link.settimeout(self._timeout)

    def read_into(self, view: memoryview) -> int:
        """Fill it, unless the body ends before; 0 at the end. Raises TimeoutError when nothing arrives for as long as the socket's
        timeout, IncompleteRead for a body that ends early, OSError."""
        got = min(len(view), len(self._ahead))
        view[:got], self._ahead = self._ahead[:got], self._ahead[got:]
        end = min(len(view), got + self._left)
        while got < end:
            if self._await:
                self._wait()
            with self._turns.one():
                got += self._take(view[got:end])
        return got

    def _take(self, view: memoryview) -> int:
        """As much of it as has arrived."""
        got = 0
        while got < len(view):
            try:
                more = self._link.recv_into(view[got:])
            except (BlockingIOError, ssl.SSLWantReadError):
                self._await = select.POLLIN
                break
            except ssl.SSLWantWriteError:  # the protocol's own answer finds no room
                self._await = select.POLLOUT
                break
            if not more:
                raise http.client.IncompleteRead(b"", self._left)
            got += more
            self._left -= more
        return got

    def _wait(self) -> None:
        wait_for(self._link, self._await, self._timeout, "the store sends nothing")
        self._await = 0
