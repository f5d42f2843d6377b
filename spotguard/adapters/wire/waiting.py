"""Waiting for a socket that does not block."""

from __future__ import annotations

import select
import socket
import ssl

NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What such a socket raises instead of waiting; TLS may have to read before it can write, and the other way round."""


def wait_for(link: socket.socket, event: int, timeout: float | None, otherwise: str) -> None:
    """Until this event of `select` has come. Raises TimeoutError, saying `otherwise`, when it does not within `timeout` seconds."""
    watch = select.poll()
    watch.register(link, event)
    if not watch.poll(None if timeout is None else timeout * 1000):
        raise TimeoutError(otherwise)
