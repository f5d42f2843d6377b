"""The kernel's own pacing of the connections to the store: smooth to the packet, free of CPU, changed in the middle of a request.

`SO_MAX_PACING_RATE` (socket(7)) has TCP space its segments out; Linux since 4.13 does so without a queueing discipline.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger()

_SO_MAX_PACING_RATE = 47  # asm-generic/socket.h; the socket module has no name for it
_UNLIMITED = (1 << 32) - 1
"""Bytes per second; all ones means no limit to the kernel."""


class ConnectionPacing:
    """For several threads. A kernel that knows no pacing is told of once; a cap is coarser then, and nothing else is different."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rate = _UNLIMITED
        self._in_use: set[socket.socket] = set()
        self._ever = False
        self._refused = False

    def set_rate(self, bytes_per_second: float | None) -> None:
        """What one connection may send, from now on, also in the middle of a request; None: as fast as it goes."""
        with self._lock:
            self._rate = _UNLIMITED if bytes_per_second is None else min(_UNLIMITED - 1, max(1, round(bytes_per_second)))
            self._ever = self._ever or bytes_per_second is not None
            for link in self._in_use:
                self._pace(link)

    @contextmanager
    def held(self, link: socket.socket) -> Iterator[None]:
        """While this connection is in use it keeps to the rate."""
        with self._lock:
            self._in_use.add(link)
            self._pace(link)
        try:
            yield
        finally:
            with self._lock:
                self._in_use.discard(link)

    def _pace(self, link: socket.socket) -> None:
        if not self._ever or self._refused:
            return
        try:
            link.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("I", self._rate))
        except OSError as error:
            if error.errno not in {errno.EBADF, errno.EINVAL, errno.ENOTCONN}:  # those mean that it was closed meanwhile
                self._refused = True
                effect = "whole parts leave at the speed of the line, one after the other"
                log.warning("upload_cap.coarse", reason=f"the kernel does not pace connections: {error}", effect=effect)
