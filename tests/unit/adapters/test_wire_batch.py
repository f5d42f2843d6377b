"""A batch of small objects over a few connections: whatever one answer does, the others come, and nothing wrong counts as right."""

from __future__ import annotations

import os
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import pytest
from awscrt.checksums import crc64nvme
from botocore.httpsession import where

from spotguard.adapters.wire.batch import Batch
from spotguard.adapters.wire.connections import Connections, Place
from spotguard.adapters.wire.proxy import Proxy
from spotguard.adapters.wire.small_requests import SmallFetch, SmallSend
from spotguard.ports.part_transfer import Slice
from tests.unit.adapters.test_wire import head_of, listening

COUNT, SIZE, LANES = 20, 5000, 8
Oddity = Callable[[socket.socket, bytes], bool]
"""Answers a request otherwise; whether the connection goes on."""


def body_of(number: int) -> bytes:
    return bytes([number]) * SIZE


def plainly(link: socket.socket, body: bytes) -> bool:
    link.sendall(b"HTTP/1.1 200 OK\r\nETag: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return True


class Server:
    """Answers GET /NUMBER on any number of connections, some of them `oddly`."""

    def __init__(self, oddly: dict[int, Oddity]) -> None:
        self._oddly = oddly
        self.heard: list[int] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.place = Place("127.0.0.1", self._server.getsockname()[1], None)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes whoever accepts
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link:
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (more := link.recv(65536)):
                        return
                    head += more
                number = int(re.match(rb"GET /(\d+) ", head)[1])  # type: ignore[index]
                self.heard.append(number)
                if not self._oddly.get(number, plainly)(link, body_of(number)):
                    return


class Made(NamedTuple):
    batch: Batch
    fetches: list[SmallFetch]

    @property
    def sums(self) -> list[int | None]:
        return [fetch.crc64nvme for fetch in self.fetches]


@contextmanager
def batch(
    fd: int, oddly: dict[int, Oddity], *, stall_seconds: float = 5.0, others: dict[int, int] | None = None
) -> Iterator[tuple[Made, Server, Connections]]:
    """`others`: descriptors of some instead of `fd`."""
    server, connections = Server(oddly), Connections(stall_seconds)
    slices = [Slice((others or {}).get(number, fd), number * SIZE, SIZE) for number in range(COUNT)]
    fetches = [SmallFetch(into) for into in slices]
    heads = [f"GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n".encode() for number in range(COUNT)]
    asked = [(fetch, lambda size, beside, head=head: head) for fetch, head in zip(fetches, heads, strict=True)]
    yield Made(Batch(connections, server.place, lambda: asked, most_lanes=LANES), fetches), server, connections
    connections.close()
    server.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def assert_only_these_lack(made: Batch, fd: int, lacking: set[int]) -> None:
    assert {number for number, crc in enumerate(made.sums) if crc is None} == lacking
    for number in set(range(COUNT)) - lacking:
        assert made.sums[number] == crc64nvme(body_of(number))
        assert os.pread(fd, SIZE, number * SIZE) == body_of(number)


def refused(link: socket.socket, body: bytes) -> bool:
    link.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return True


def cut_off(link: socket.socket, body: bytes) -> bool:
    link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:-1])
    return False


def shorter(link: socket.socket, body: bytes) -> bool:
    return plainly(link, body[:-1])


def longer(link: socket.socket, body: bytes) -> bool:
    return plainly(link, body + b"x")


def more_than_it_says(link: socket.socket, body: bytes) -> bool:
    link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body + b"x")
    return True


def chunked(link: socket.socket, body: bytes) -> bool:
    link.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
    return True


def babbling(link: socket.socket, body: bytes) -> bool:
    link.sendall(b"x" * 100_000)
    return False


def closing(link: socket.socket, body: bytes) -> bool:
    link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
    return False


def closing_among_others(link: socket.socket, body: bytes) -> bool:
    link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: Keep-Alive, close\r\n\r\n" % len(body) + body)
    link.recv(1)  # until the other side ends it; a request that came here would not be answered
    return False


def in_drops(link: socket.socket, body: bytes) -> bool:
    answer = b"HTTP/1.1 200 OK\r\ncontent-LENGTH:%d\r\n\r\n" % len(body) + body
    for at in (slice(0, 5), slice(5, 41), slice(41, 42), slice(42, None)):
        link.sendall(answer[at])
    return True


def silent(link: socket.socket, body: bytes) -> bool:
    link.recv(1)
    return False


def test_all_come_over_few_connections_which_are_kept(file: int) -> None:
    with batch(file, {}) as (made, server, connections):
        made.batch.run()
        assert_only_these_lack(made, file, set())
        assert sorted(server.heard) == list(range(COUNT))
        taken = [connections.take(server.place) for _ in range(LANES + 1)]
        assert [used_before for _, used_before in taken] == [True] * LANES + [False]
        for connection, _ in taken:
            connection.close()


def test_connections_that_are_kept_wait_as_long_as_before(file: int) -> None:
    with batch(file, {}, stall_seconds=4.5) as (made, server, connections):
        made.batch.run()
        taken = [connections.take(server.place) for _ in range(LANES)]
        assert [(used_before, connection.sock.gettimeout()) for connection, used_before in taken] == [(True, 4.5)] * LANES
        for connection, _ in taken:
            connection.close()


@pytest.mark.parametrize("oddity", [refused, cut_off, shorter, longer, more_than_it_says, chunked, babbling])
def test_an_answer_that_is_no_plain_success_costs_only_its_own_object(file: int, oddity: Oddity) -> None:
    with batch(file, {0: oddity, 7: oddity, COUNT - 1: oddity}) as (made, server, _):
        made.batch.run()
    assert_only_these_lack(made, file, {0, 7, COUNT - 1})
    assert {0, 7, COUNT - 1} <= set(server.heard)


@pytest.mark.parametrize("oddity", [closing, closing_among_others, in_drops])
def test_an_answer_may_come_in_drops_and_end_its_connection(file: int, oddity: Oddity) -> None:
    with batch(file, dict.fromkeys(range(COUNT), oddity)) as (made, _, _connections):
        made.batch.run()
    assert_only_these_lack(made, file, set())


def test_a_store_that_falls_silent_is_not_waited_for_again_and_again(file: int) -> None:
    with batch(file, dict.fromkeys(range(10, COUNT), silent), stall_seconds=0.2) as (made, server, _):
        made.batch.run()
    assert_only_these_lack(made, file, set(range(10, COUNT)))
    assert 10 in server.heard


def test_breaking_off_ends_it_and_what_came_is_known(file: int) -> None:
    with batch(file, dict.fromkeys(range(10, COUNT), silent), stall_seconds=30.0) as (made, server, _):
        thread = threading.Thread(target=made.batch.run)
        thread.start()
        while 10 not in server.heard or None in made.sums[:10]:
            thread.join(0.01)
        made.batch.break_off()
        thread.join(5)
        assert not thread.is_alive()
    assert_only_these_lack(made, file, set(range(10, COUNT)))


def test_a_file_that_takes_nothing_costs_only_its_own_object(file: int) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with batch(file, {}, others={3: full}) as (made, _, _connections):
        made.batch.run()
    os.close(full)
    assert_only_these_lack(made, file, {3})


def test_without_a_store_nothing_comes_and_nothing_is_raised(file: int) -> None:
    with batch(file, {}) as (made, server, _):
        server.close()
        made.batch.run()
    assert made.sums == [None] * COUNT


@pytest.mark.parametrize("nonsense", [b"220 mail.example ESMTP\r\n", b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b""])
def test_a_proxy_that_makes_no_tunnel_ends_it_and_nothing_is_raised(file: int, nonsense: bytes) -> None:
    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(nonsense)

    connections = Connections(5.0)
    fetches = [SmallFetch(Slice(file, number * SIZE, SIZE)) for number in range(COUNT)]
    with listening(story) as place:
        store = Place("bucket.example", 443, str(where()), Proxy(place.host, place.port))
        Batch(connections, store, lambda: [(fetch, lambda size, beside: b"") for fetch in fetches], most_lanes=LANES).run()
    connections.close()
    assert [fetch.crc64nvme for fetch in fetches] == [None] * COUNT
    assert os.fstat(file).st_size == 0


class LateReader(Server):
    """Takes PUT /NUMBER; begins to read a body only when some of it waits in its own buffer, a small one."""

    def __init__(self) -> None:
        super().__init__({})
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # of every connection that is accepted
        self.stored: dict[int, bytes] = {}

    def _serve(self, link: socket.socket) -> None:
        with link:
            while head := link.recv(1 << 12, socket.MSG_PEEK).partition(b"\r\n\r\n")[0]:
                number = int(re.match(rb"PUT /(\d+) ", head)[1])  # type: ignore[index]
                length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
                wait_until(lambda: len(link.recv(1 << 14, socket.MSG_PEEK)) > 1 << 12)
                with link.makefile("rb") as whole:
                    self.stored[number] = whole.read(len(head) + 4 + length)[len(head) + 4 :]
                link.sendall(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n')


def test_bodies_that_do_not_fit_into_the_buffer_of_their_connection_all_arrive(file: int) -> None:
    size, count = 900_000, 2 * LANES
    content = os.urandom(size * count)
    os.write(file, content)
    server, connections = LateReader(), Connections(5.0)
    for connection in [connections.take(server.place)[0] for _ in range(LANES)]:
        connection.connect()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        connections.give_back(server.place, connection)

    def head(number: int) -> Callable[[int, Mapping[str, str]], bytes]:
        return lambda _, beside: f"PUT /{number} HTTP/1.1\r\ncontent-length: {beside['content-length']}\r\n\r\n".encode()

    sends = [SmallSend(Slice(file, number * size, size), framed=False) for number in range(count)]
    asked = [(send, head(number)) for number, send in enumerate(sends)]
    Batch(connections, server.place, lambda: asked, most_lanes=LANES).run()
    connections.close()
    server.close()
    bodies = [content[number * size : (number + 1) * size] for number in range(count)]
    assert [server.stored.get(number) == body for number, body in enumerate(bodies)] == [True] * count
    assert [send.created and send.created.crc64nvme for send in sends] == [crc64nvme(body) for body in bodies]


def test_once_it_is_broken_off_no_answer_that_has_arrived_is_written(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with batch(file, {}) as (made, server, connections):
        take, taken = connections.take, []

        def slowly(place: Place) -> tuple[HTTPConnection, bool]:
            if taken:
                wait_until(lambda: len(server.heard) == 1 and bool(select.select([taken[0].sock], [], [], 0)[0]))
                made.batch.break_off()  # while the next connection is made, which may take longer than anybody waits
            connection, used_before = take(place)
            taken.append(connection)
            return connection, used_before

        monkeypatch.setattr(connections, "take", slowly)
        made.batch.run()
        assert len(taken) == 2, "it was not broken off"
        assert made.sums == [None] * COUNT
        assert os.fstat(file).st_size == 0


def wait_until(seen: Callable[[], bool]) -> None:
    for _ in range(500):
        if seen():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come")
