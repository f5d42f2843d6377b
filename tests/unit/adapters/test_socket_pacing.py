"""The kernel is told the rate of the connections to the store, and of no others."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest

from spotguard.adapters.socket_pacing import SocketPacing

SO_MAX_PACING_RATE = 47
UNLIMITED = 0xFFFFFFFF


@pytest.fixture
def servers() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as store, socket.create_server(("127.0.0.1", 0)) as other:
        yield store, other


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def rate_of(connection: socket.socket) -> int:
    return int(struct.unpack("I", connection.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 4))[0])


def test_only_connections_to_the_store_are_paced_also_those_made_later(servers: tuple[socket.socket, socket.socket]) -> None:
    store, other = servers
    pacing = SocketPacing(lambda: port_of(store))
    with socket.create_connection(store.getsockname()) as early, socket.create_connection(other.getsockname()) as foreign:
        pacing.set_rate(1e6)
        with socket.create_connection(store.getsockname()) as late:
            assert rate_of(late) == UNLIMITED
            pacing.look()
            assert [rate_of(early), rate_of(late), rate_of(foreign)] == [1_000_000, 1_000_000, UNLIMITED]
            pacing.set_rate(3e9)
            assert rate_of(early) == 3_000_000_000
            pacing.set_rate(None)
            assert [rate_of(early), rate_of(late)] == [UNLIMITED, UNLIMITED]
            late.sendall(b"still open")


def test_a_descriptor_that_is_used_again_is_taken_for_what_it_is_now(servers: tuple[socket.socket, socket.socket]) -> None:
    store, _ = servers
    pacing = SocketPacing(lambda: port_of(store))
    pacing.set_rate(1e6)
    with socket.create_connection(store.getsockname()) as first:
        pacing.look()
        number = first.fileno()
    with socket.create_connection(store.getsockname()) as second:
        assert second.fileno() == number, "the kernel gives the lowest free number"
        pacing.look()
        assert rate_of(second) == 1_000_000


def test_before_the_store_is_known_and_with_sockets_of_all_kinds_nothing_happens(servers: tuple[socket.socket, socket.socket]) -> None:
    store, _ = servers
    known: list[int] = []
    pacing = SocketPacing(lambda: known[0] if known else None)
    with contextlib.ExitStack() as open_:
        connection = open_.enter_context(socket.create_connection(store.getsockname()))
        for end in socket.socketpair():
            open_.enter_context(end)
        open_.enter_context(socket.socket())
        open_.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        pacing.set_rate(1e6)
        assert rate_of(connection) == UNLIMITED
        known.append(port_of(store))
        pacing.look()
        assert rate_of(connection) == 1_000_000
