"""Connections to the store, kept open between requests. One request at a time on each."""

from __future__ import annotations

import http.client
import random
import select
import socket
import ssl
import threading
import time
from typing import NamedTuple

from spotguard.adapters.wire.pacing import ConnectionPacing
from spotguard.adapters.wire.proxy import Proxy
from spotguard.adapters.wire.receiving import Turns

_CONNECT_SECONDS = 5.0
_IDLE_SECONDS = 15.0
"""S3 closes what was idle for some 20 s (seen); what is older is not trusted."""


class Place(NamedTuple):
    """Where a connection leads."""

    host: str
    port: int
    ca_bundle: str | None
    """With which the store's certificate is checked; None for plain http."""
    proxy: Proxy | None = None
    """What is asked for a tunnel; of plain http, for each request."""


class _Spread:
    """`socket.create_connection`, but the addresses of a name in random order: S3 gives several, each another machine."""

    def __call__(self, address: tuple[str, int], timeout: float | None, source_address: object = None) -> socket.socket:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
        random.shuffle(found)
        failure: OSError | None = None
        for family, kind, protocol, _, where in found:
            link = socket.socket(family, kind, protocol)
            try:
                link.settimeout(_CONNECT_SECONDS)
                link.connect(where)
            except OSError as error:
                link.close()
                failure = error
                continue
            link.settimeout(timeout)
            return link
        raise failure or OSError(f"{address[0]} has no address")


class Connections:
    """For several threads."""

    def __init__(self, stall_seconds: float) -> None:
        """`stall_seconds`: how long a connection may move nothing at all."""
        self._stall_seconds = stall_seconds
        self._lock = threading.Lock()
        self._idle: list[tuple[Place, http.client.HTTPConnection, float]] = []
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._closed = False
        self.pacing = ConnectionPacing()
        self.turns = Turns()

    def take(self, place: Place) -> tuple[http.client.HTTPConnection, bool]:
        """A connection that nobody else uses, and whether it was used before. It may not be connected yet."""
        while True:
            with self._lock:
                at = next((at for at in reversed(range(len(self._idle))) if self._idle[at][0] == place), None)
                if at is None:
                    return self._new(place), False
                _, connection, since = self._idle.pop(at)
            if time.monotonic() - since < _IDLE_SECONDS and not _has_ended(connection):
                return connection, True
            connection.close()

    def give_back(self, place: Place, connection: http.client.HTTPConnection) -> None:
        """It is in order and its answer was read to the end."""
        with self._lock:
            if not self._closed:
                self._idle.append((place, connection, time.monotonic()))
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for _, connection, _ in idle:
            connection.close()

    def _new(self, place: Place) -> http.client.HTTPConnection:
        connection = self._unconnected(place)
        connection._create_connection = _Spread()  # type: ignore[attr-defined] # http.client's only way to choose the address
        return connection

    def _unconnected(self, place: Place) -> http.client.HTTPConnection:
        host, port = (place.host, place.port) if place.proxy is None else (place.proxy.host, place.proxy.port)
        if place.ca_bundle is None:
            return http.client.HTTPConnection(host, port, timeout=self._stall_seconds)
        if place.ca_bundle not in self._contexts:
            self._contexts[place.ca_bundle] = ssl.create_default_context(cafile=place.ca_bundle)
        connection = http.client.HTTPSConnection(host, port, timeout=self._stall_seconds, context=self._contexts[place.ca_bundle])
        if place.proxy is not None:
            connection.set_tunnel(place.host, place.port, dict(place.proxy.headers))
        return connection


def _has_ended(connection: http.client.HTTPConnection) -> bool:
    """Whether the peer has closed it, or has said something that nobody asked for."""
    if connection.sock is None:
        return True
    if isinstance(connection.sock, ssl.SSLSocket) and connection.sock.pending():  # decrypted already, which poll does not show
        return True
    watch = select.poll()
    watch.register(connection.sock, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(watch.poll(0))
