"""The kernel's own pacing for the connections to the store: smooth to the packet, free of CPU, changed in the middle of a request.

`SO_MAX_PACING_RATE` (socket(7)) has TCP space its segments out; Linux since 4.13 does so without a queueing discipline. The
connections are found among the process's descriptors by the port of their peer. What else talks to that port only asks small things, which
pacing does not delay.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator

import structlog

log = structlog.get_logger()

_SO_MAX_PACING_RATE = 47  # asm-generic/socket.h; the socket module has no name for it
_UNLIMITED = (1 << 32) - 1
"""Bytes per second; all ones means no limit to the kernel."""
_NOT_CONNECTED = frozenset({errno.ENOTCONN, errno.EBADF, errno.ENOTSOCK, errno.EINVAL})


class SocketPacing:
    """`peer_port` tells the store's port, None while it is not known."""

    def __init__(self, peer_port: Callable[[], int | None]) -> None:
        self._peer_port = peer_port
        self._rate: int | None = None
        self._paced: set[tuple[int, int]] = set()
        self._refused = False

    def set_rate(self, bytes_per_second: float | None) -> None:
        """What one connection may send, from now on, also in the middle of a request; None: as fast as it goes."""
        before, self._rate = self._rate, None if bytes_per_second is None else min(_UNLIMITED - 1, max(1, round(bytes_per_second)))
        if self._rate == before:
            return
        self._paced.clear()
        self._pace(_UNLIMITED if self._rate is None else self._rate)
        if self._rate is None:
            self._paced.clear()

    def look(self) -> None:
        """Take in the connections that were made since the last look. Costs about a microsecond per open file."""
        if self._rate is not None:
            self._pace(self._rate)

    def _pace(self, rate: int) -> None:
        port = self._peer_port()
        if port is None or self._refused:
            return
        found = set(_sockets())
        connected = {(fd, inode) for fd, inode in found - self._paced if self._pace_one(fd, port, rate)}
        self._paced = (self._paced & found) | connected

    def _pace_one(self, fd: int, port: int, rate: int) -> bool:
        """Whether it needs no second look: it is paced, or talks to somebody else."""
        try:
            connection = socket.socket(fileno=fd)
        except OSError:
            return False  # closed meanwhile
        try:
            if connection.family not in {socket.AF_INET, socket.AF_INET6}:
                return True
            if connection.getpeername()[1] == port:
                connection.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("I", rate))
        except OSError as error:
            if error.errno not in _NOT_CONNECTED:
                self._refused = True
                effect = "whole parts leave at the speed of the line, one after the other"
                log.warning("upload_cap.coarse", reason=f"the kernel does not pace connections: {error}", effect=effect)
            return False
        finally:
            connection.detach()  # it is not ours to close
        return True


def _sockets() -> Iterator[tuple[int, int]]:
    """The sockets of this process: descriptor and inode, which together tell one from a later one."""
    try:
        descriptors = os.listdir("/proc/self/fd")
    except OSError:
        return  # no /proc: the cap is coarser, no more
    for name in descriptors:
        try:
            found = os.fstat(int(name))
        except OSError:
            continue
        if stat.S_ISSOCK(found.st_mode):
            yield int(name), found.st_ino
