"""Messages between two processes of one command: JSON, one per packet, the end of the other side is the end of the stream."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

_MOST_BYTES = 1 << 16

Message = dict[str, Any]


class MessageLink:
    """One end. Sending never blocks and never raises: a side that is gone needs no news."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setblocking(False)

    @classmethod
    def pair(cls) -> tuple[MessageLink, MessageLink]:
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        with suppress(OSError):
            self._socket.send(json.dumps(message, default=str).encode()[:_MOST_BYTES])

    def receive(self) -> list[Message] | None:
        """What has come, without waiting; None when the other side is gone and everything was read."""
        messages: list[Message] = []
        while True:
            try:
                packet = self._socket.recv(_MOST_BYTES)
            except BlockingIOError:
                return messages
            except OSError:
                packet = b""
            if not packet:
                return messages or None
            messages.extend(_read(packet))

    async def messages(self) -> AsyncIterator[Message]:
        """What comes, until the other side is gone."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                packet = await loop.sock_recv(self._socket, _MOST_BYTES)
            except OSError:
                return
            if not packet:
                return
            for message in _read(packet):
                yield message

    def close(self) -> None:
        self._socket.close()


def _read(packet: bytes) -> list[Message]:
    """None of one that was too long, and so was cut: a command must not lose its guard, or its exit status, to that."""
    try:
        return [json.loads(packet)]
    except ValueError:
        return []
