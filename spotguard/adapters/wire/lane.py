"""A connection that is asked before it is waited for: with many lanes under way most answers are there when their turn comes."""

from __future__ import annotations

import http.client
import select
import socket
import ssl

from spotguard.adapters.wire.waiting import NOTHING_YET, wait_for


class Lane:
    """One connection of a batch, which does not block while it is one. Python itself would, with a timeout, ask before each call of a plain
    socket whether there is anything to do."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        """Connected."""
        self.connection = connection
        self._link: socket.socket = connection.sock
        self._timeout = self._link.gettimeout()
        self._link.settimeout(0)

    def release(self) -> http.client.HTTPConnection:
        """The connection, as it was before."""
        self._link.settimeout(self._timeout)
        return self.connection

    def break_off(self) -> None:
        """From any thread: whoever waits for it is woken. Raises OSError where it has ended by itself."""
        socket.socket.shutdown(self._link, socket.SHUT_RDWR)  # of the plain socket, also under TLS

    def sendall(self, content: bytes | memoryview) -> None:
        """Raises OSError, TimeoutError when nothing can be sent for as long as the connection's timeout."""
        left = memoryview(content)
        while left:
            try:
                left = left[self._link.send(left) :]
            except NOTHING_YET as nothing:
                self._wait(select.POLLIN if isinstance(nothing, ssl.SSLWantReadError) else select.POLLOUT)

    def recv_into(self, view: memoryview) -> int:
        """At least one byte; 0 at the end. Raises OSError, TimeoutError when nothing comes for as long as the connection's timeout."""
        while True:
            try:
                return self._link.recv_into(view)
            except NOTHING_YET as nothing:
                self._wait(select.POLLOUT if isinstance(nothing, ssl.SSLWantWriteError) else select.POLLIN)

    def _wait(self, event: int) -> None:
        wait_for(self._link, event, self._timeout, "the store moves nothing")
