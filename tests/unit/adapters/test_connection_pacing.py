"""The kernel is told the rate of each connection while it is in use."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from spotguard.adapters.wire.pacing import ConnectionPacing

SO_MAX_PACING_RATE = 47
UNLIMITED = 0xFFFFFFFF


@pytest.fixture
def links() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as one,
        socket.create_connection(server.getsockname()) as other,
    ):
        yield one, other


def rate_of(connection: socket.socket) -> int:
    return int(struct.unpack("I", connection.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 4))[0])


def test_a_connection_in_use_follows_the_rate_and_an_idle_one_at_its_next_use(links: tuple[socket.socket, socket.socket]) -> None:
    busy, idle = links
    pacing = ConnectionPacing()
    with pacing.held(busy):
        assert rate_of(busy) == UNLIMITED
        pacing.set_rate(1e6)
        with pacing.held(idle):
            assert [rate_of(busy), rate_of(idle)] == [1_000_000, 1_000_000]
        pacing.set_rate(3e9)
        assert [rate_of(busy), rate_of(idle)] == [3_000_000_000, 1_000_000]
        pacing.set_rate(None)
        assert rate_of(busy) == UNLIMITED
    with pacing.held(idle):
        assert rate_of(idle) == UNLIMITED


def test_a_connection_that_was_closed_meanwhile_is_no_trouble(links: tuple[socket.socket, socket.socket]) -> None:
    gone, alive = links
    pacing = ConnectionPacing()
    with pacing.held(gone):
        gone.close()
        pacing.set_rate(1e6)
    with pacing.held(alive):
        assert rate_of(alive) == 1_000_000


def test_a_rate_beyond_what_the_kernel_takes_is_cut(links: tuple[socket.socket, socket.socket]) -> None:
    link, _ = links
    pacing = ConnectionPacing()
    with pacing.held(link):
        pacing.set_rate(1e12)
        assert rate_of(link) == UNLIMITED - 1
        pacing.set_rate(0.001)
        assert rate_of(link) == 1
