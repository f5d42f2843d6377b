"""A body on its way: when it lets others go beside it, and how much of it the kernel may keep."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import pytest

from spotguard.adapters import daemon_threads
from spotguard.adapters.daemon_threads import DaemonThreads
from spotguard.adapters.s3 import store_wire
from spotguard.adapters.wire import connections as wire_connections
from spotguard.adapters.wire import sending
from spotguard.adapters.wire.connections import Connections, Place
from spotguard.adapters.wire.exchange import Answer, Exchange, WireRequest
from spotguard.ports.part_transfer import FileShrank
from tests.support.request_head import request_head
from tests.unit.adapters.test_wire import OK, everything, head_of, whole

MIB = 1 << 20
LARGE = 80 * MIB
"""More than the kernel keeps of a body, at both ends together."""


class Zeros:
    """A body of so many bytes. `meanwhile` is done once a piece of it has gone."""

    def __init__(self, size: int, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.size = size
        self.failure: OSError | FileShrank | None = None
        self._meanwhile = meanwhile

    def send(self, send: Callable[[memoryview], object]) -> None:
        piece = memoryview(bytes(MIB))
        send(piece)
        self._meanwhile()
        for _ in range(self.size // MIB - 1):
            send(piece)


class Store:
    """Answers each body when all of it has come; `slow_key` is not read before `may_read` is set."""

    def __init__(self, *, slow_key: str = "") -> None:
        self.may_read = threading.Event()
        self._slow_head = f"PUT /b/{slow_key} ".encode()

    def serve(self, link: socket.socket) -> None:
        with link:
            while start := link.recv(len(self._slow_head), socket.MSG_PEEK):
                if start == self._slow_head:
                    assert self.may_read.wait(10)
                whole(link)
                link.sendall(OK)

    @contextmanager
    def listening(self) -> Iterator[Place]:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def accept() -> None:
                while True:
                    try:
                        link, _ = server.accept()
                    except OSError:
                        return
                    threading.Thread(target=self.serve, args=(link,), daemon=True).start()

            threading.Thread(target=accept, daemon=True).start()
            yield Place("127.0.0.1", server.getsockname()[1], None)
            server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def connections() -> Iterator[Connections]:
    kept = Connections(20.0)
    yield kept
    kept.close()


@pytest.fixture
def one_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[DaemonThreads]:
    """Where nobody gives way, nothing else helps."""
    monkeypatch.setattr(daemon_threads, "_TURN_SECONDS", 60.0)
    threads = DaemonThreads("test", 4, at_once=1)
    yield threads
    threads.close()


def put(connections: Connections, place: Place, key: str, body: Zeros, give_way: Callable[[], None] = lambda: None) -> Exchange:
    headers = {"host": place.host, "content-length": str(body.size)}
    return Exchange(connections, place, lambda: WireRequest("PUT", request_head("PUT", f"/b/{key}", headers), body=body), give_way)


def connected(connections: Connections, place: Place, count: int) -> list[socket.socket]:
    """Our ends of connections that are open and idle: no request has to wait for one."""
    taken = [connections.take(place)[0] for _ in range(count)]
    for connection in taken:
        connection.connect()
        connections.give_back(place, connection)
    return [connection.sock for connection in taken]


async def done(threads: DaemonThreads, *exchanges: Exchange) -> list[int | None]:
    answers: list[Answer] = await asyncio.wait_for(asyncio.gather(*(threads.run(exchange.run) for exchange in exchanges)), 20)
    assert [answer.error for answer in answers] == [None] * len(exchanges)
    return [answer.status for answer in answers]


def goes_beside(
    store: Store,
    connections: Connections,
    threads: DaemonThreads,
    slow: Zeros,
    go_on: Callable[[], None],
    *,
    idle: int = 2,
    status: int = 200,
) -> None:
    """Another body goes, and is answered, while one is under way that can not end before `go_on`, which then has this answer."""

    async def story(place: Place) -> None:
        connected(connections, place, idle)
        exchange = partial(put, connections, place, give_way=threads.give_way)
        under_way = asyncio.create_task(done(threads, exchange("slow", slow)))
        await asyncio.sleep(0)
        assert await done(threads, exchange("fast", Zeros(MIB))) == [200]
        assert not under_way.done()
        go_on()
        assert await under_way == [status]

    with store.listening() as place:
        asyncio.run(story(place))


def test_another_body_goes_beside_one_that_the_store_does_not_take(
    connections: Connections, one_at_once: DaemonThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_SOON_MS", 60_000)
    store = Store(slow_key="slow")
    goes_beside(store, connections, one_at_once, Zeros(LARGE), store.may_read.set)


def test_another_body_goes_beside_a_small_one_that_only_waits_for_its_answer(
    connections: Connections, one_at_once: DaemonThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_PATIENCE_SECONDS", 60.0)
    store = Store(slow_key="slow")
    goes_beside(store, connections, one_at_once, Zeros(MIB), store.may_read.set)  # all of it is in the kernel at once


@pytest.mark.parametrize("early", [True, False])
def test_another_body_goes_beside_one_whose_answer_begins_and_does_not_end(
    connections: Connections, one_at_once: DaemonThreads, early: bool
) -> None:
    may_end = threading.Event()

    class Stammers(Store):
        def serve(self, link: socket.socket) -> None:
            with link:
                while start := link.recv(11, socket.MSG_PEEK):
                    slow = start == b"PUT /b/slow"
                    if slow and early:
                        head_of(link)
                    else:
                        whole(link)
                    if slow:
                        link.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 9\r\n\r\n<Err")
                        assert may_end.wait(10)
                        link.sendall(b"or />")
                        everything(link)
                        return
                    link.sendall(OK)

    goes_beside(Stammers(), connections, one_at_once, Zeros(LARGE if early else 16 * MIB), may_end.set, status=503)


def test_another_body_goes_beside_one_whose_file_is_slow(
    connections: Connections, one_at_once: DaemonThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_is_there = threading.Event()
    now = [100.0]
    monkeypatch.setattr(sending, "time", SimpleNamespace(monotonic=lambda: now[0]))

    class Slow(Zeros):
        def send(self, send: Callable[[memoryview], object]) -> None:
            piece = memoryview(bytes(MIB))
            now[0] += 0.5
            send(piece)
            assert other_is_there.wait(10)
            send(piece)

    goes_beside(Store(), connections, one_at_once, Slow(2 * MIB), other_is_there.set)


def test_another_body_goes_beside_one_whose_connection_is_not_there_yet(
    connections: Connections, one_at_once: DaemonThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_is_there, first = threading.Event(), threading.Semaphore(1)
    connect = wire_connections._Spread.__call__

    def connects_long(*of: object) -> socket.socket:
        if first.acquire(blocking=False):
            assert other_is_there.wait(10)
        return connect(*of)  # type: ignore[arg-type]

    monkeypatch.setattr(wire_connections._Spread, "__call__", connects_long)

    goes_beside(Store(), connections, one_at_once, Zeros(MIB), other_is_there.set, idle=0)


def test_a_body_that_has_to_wait_for_nothing_is_finished_before_another_begins(
    connections: Connections, one_at_once: DaemonThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that stands still: the machine that this runs on may be slow."""
    monkeypatch.setattr(sending, "time", SimpleNamespace(monotonic=lambda: 100.0))
    monkeypatch.setattr(sending, "_PATIENCE_SECONDS", 10.0)
    order: list[str] = []

    async def story(place: Place) -> None:
        connected(connections, place, 2)

        async def send(key: str) -> None:
            body = Zeros(8 * MIB, lambda: order.append(f"{key} is under way"))
            await done(one_at_once, put(connections, place, key, body, one_at_once.give_way))

        await asyncio.gather(send("a"), send("b"))

    class Marking(Store):
        def serve(self, link: socket.socket) -> None:
            with link:
                while link.recv(1, socket.MSG_PEEK):
                    whole(link)
                    order.append("one is whole")
                    link.sendall(OK)

    with Marking().listening() as place:
        asyncio.run(story(place))
    assert order == ["a is under way", "one is whole", "b is under way", "one is whole"]


@pytest.mark.parametrize(
    ("size", "seconds", "small"),
    [(16 * MIB, 0.05, True), (16 * MIB, 0.2, False), (4 * MIB, 0.0, False)],
    ids=["near", "as slow as S3", "too little to tell"],
)
@pytest.mark.parametrize("microseconds", [1_000_000, 0], ids=["", "distant"])
def test_the_kernel_keeps_little_of_a_body_only_for_a_connection_that_has_carried_one_fast(
    connections: Connections, monkeypatch: pytest.MonkeyPatch, size: int, seconds: float, small: bool, microseconds: int
) -> None:
    monkeypatch.setattr(sending, "_NEAR_MICROSECONDS", microseconds)
    now = [100.0]
    monkeypatch.setattr(sending, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def passes() -> None:
        now[0] += seconds

    with Store().listening() as place:
        (link,) = connected(connections, place, 1)
        answer = put(connections, place, "k", Zeros(size, passes)).run()
        assert (answer.status, answer.error) == (200, None)
        with open("/proc/sys/net/core/wmem_max") as most:
            expected = 2 * min(sending._NEAR_BUFFER_BYTES, int(most.read()))
        assert (link.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == expected) is (small and microseconds > 0)


def test_so_many_bodies_go_at_once_as_there_are_processors_and_two_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for processors, at_once in ((1, 2), (2, 2), (7, 7)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, count=processors: set(range(count)))
        assert store_wire._sent_at_once() == at_once
