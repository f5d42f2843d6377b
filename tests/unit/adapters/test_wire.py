"""One request over a connection: what arrives, how it ends early, and what is kept for the next one."""

from __future__ import annotations

import array
import fcntl
import os
import socket
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme

from spotguard.adapters.wire.body import SENT_BYTES, TAKEN_BYTES, FileBody, FileSink
from spotguard.adapters.wire.connections import Connections, Place
from spotguard.adapters.wire.exchange import Answer, Exchange, WireRequest
from spotguard.adapters.wire.head import UnfitForHead
from spotguard.ports.part_transfer import FileShrank, Slice
from tests.support.request_head import request_head

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: x\r\n\r\n"
Story = Callable[[socket.socket], None]


def everything(link: socket.socket) -> None:
    """Hear until the other side ends."""
    while link.recv(1 << 20):
        continue


@contextmanager
def listening(*stories: Story) -> Iterator[Place]:
    """Plays one story per connection, in order."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for story in stories:
                link, _ = server.accept()
                with link:
                    story(link)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Place("127.0.0.1", server.getsockname()[1], None)
        thread.join(10)
        assert not thread.is_alive()


def head_of(link: socket.socket) -> tuple[bytes, bytes]:
    """A request's head, and what came with it of its body."""
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += link.recv(65536)
    head, _, rest = heard.partition(b"\r\n\r\n")
    return head, rest


def whole(link: socket.socket) -> bytes:
    """A request's body."""
    head, body = head_of(link)
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += link.recv(1 << 20)
    return body


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(fd, os.urandom(3 * SENT_BYTES + 77))
    yield fd
    os.close(fd)


@pytest.fixture
def connections() -> Iterator[Connections]:
    kept = Connections(5.0)
    yield kept
    kept.close()


def put(connections: Connections, place: Place, body: FileBody) -> Exchange:
    headers = {"host": place.host, "content-length": str(body.content_length)}
    return Exchange(connections, place, lambda: WireRequest("PUT", request_head("PUT", "/b/k", headers), body=body))


def get(connections: Connections, place: Place, sink: FileSink) -> Exchange:
    return Exchange(connections, place, lambda: WireRequest("GET", request_head("GET", "/b/k", {"host": place.host}), sink=sink))


def post(connections: Connections, place: Place) -> Exchange:
    """Nothing is sent but a head, and the answer goes nowhere."""
    headers = {"host": place.host, "content-length": "0"}
    return Exchange(connections, place, lambda: WireRequest("POST", request_head("POST", "/b/k", headers)))


def connected(connections: Connections, place: Place) -> socket.socket:
    """Our end of the connection that the next request takes."""
    connection, _ = connections.take(place)
    connection.connect()
    link: socket.socket = connection.sock
    connections.give_back(place, connection)
    return link


def queued(link: socket.socket, request: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(link, request, count)
    return count[0]


def await_read(link: socket.socket, ours: socket.socket) -> None:
    """Until all that `link` has sent was read at our end."""
    for _ in range(5000):
        if not queued(link, termios.TIOCOUTQ) and not queued(ours, termios.FIONREAD):
            return
        time.sleep(0.001)
    raise AssertionError("it is not read")


def test_a_framed_body_is_one_chunk_with_the_sum_of_exactly_the_bytes_sent(connections: Connections, file: int) -> None:
    heard: list[bytes] = []

    def story(link: socket.socket) -> None:
        heard.append(whole(link))
        link.sendall(OK)

    size = 3 * SENT_BYTES
    body = FileBody(Slice(file, 77, size), framed=True)
    with listening(story) as place:
        answer = put(connections, place, body).run()
    content = os.pread(file, size, 77)
    assert (answer.status, answer.headers["etag"], answer.error) == (200, "x", None)
    assert body.crc64nvme == crc64nvme(content)
    head, _, rest = heard[0].partition(b"\r\n")
    assert int(head, 16) == size
    assert rest[:size] == content
    assert rest[size:].startswith(b"\r\n0\r\nx-amz-checksum-crc64nvme:")


def test_a_file_that_ends_early_fails_the_request_and_not_the_process(connections: Connections, file: int) -> None:
    body = FileBody(Slice(file, 0, 4 * SENT_BYTES), framed=False)
    with listening(everything) as place:
        answer = put(connections, place, body).run()
    assert isinstance(body.failure, FileShrank)
    assert answer.error is body.failure


def test_an_early_refusal_is_heard_though_the_store_stops_reading_and_stays(connections: Connections, file: int) -> None:
    release = threading.Event()

    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\n\r\nNoSuchUp")
        release.wait(10)

    os.ftruncate(file, 64 << 20)
    with listening(story) as place:
        answer = put(connections, place, FileBody(Slice(file, 0, 64 << 20), framed=True)).run()
        release.set()
    assert (answer.status, answer.body, answer.error) == (404, b"NoSuchUp", None)


def test_a_success_before_the_body_was_sent_is_none(connections: Connections, file: int) -> None:
    release = threading.Event()

    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(OK)
        release.wait(10)

    os.ftruncate(file, 64 << 20)
    with listening(story) as place:
        answer = put(connections, place, FileBody(Slice(file, 0, 64 << 20), framed=True)).run()
        release.set()
    assert answer.error is not None


def test_a_connection_is_used_again_and_one_that_was_closed_while_idle_costs_nothing(connections: Connections, file: int) -> None:
    def twice(link: socket.socket) -> None:
        for _ in range(2):
            whole(link)
            link.sendall(OK)

    def once(link: socket.socket) -> None:
        whole(link)
        link.sendall(OK)

    with listening(twice, once) as place:
        answers = [put(connections, place, FileBody(Slice(file, 0, 100), framed=False)).run() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 200]


def test_breaking_off_ends_a_request_that_nobody_answers(connections: Connections, file: int) -> None:
    heard, ended = threading.Event(), threading.Event()

    def story(link: socket.socket) -> None:
        head_of(link)
        heard.set()
        ended.wait(10)

    answers = []
    with listening(story) as place:
        exchange = get(connections, place, FileSink(Slice(file, 0, 100)))
        thread = threading.Thread(target=lambda: answers.append(exchange.run()))
        thread.start()
        assert heard.wait(5)
        assert exchange.break_off()
        thread.join(5)
        ended.set()
    assert answers[0].error is not None
    assert not exchange.break_off()


def test_a_body_that_still_drains_is_waited_for_longer_than_a_stall(file: int) -> None:
    """A slow link empties the kernel's buffer long after the last byte was given to it."""

    def slowly(link: socket.socket) -> None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        head, body = head_of(link)
        heard, length = len(body), int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while heard < length:
            heard += len(link.recv(60_000))
            pause.wait(0.06)
        link.sendall(OK)

    pause = threading.Event()
    os.ftruncate(file, 1 << 20)
    connections = Connections(0.4)
    with listening(slowly) as place:
        answer = put(connections, place, FileBody(Slice(file, 0, 1 << 20), framed=False)).run()
    connections.close()
    assert (answer.status, answer.error) == (200, None)


def test_a_body_that_leaves_slowly_is_no_stall_though_the_kernel_sees_no_room_for_longer(file: int) -> None:
    """It says so again only when a third of its buffer, which may have grown to megabytes, is empty."""
    leaves_fast = threading.Event()

    def slowly(link: socket.socket) -> None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        until = time.monotonic() + 1.2
        head, body = head_of(link)
        heard, length = len(body), int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while heard < length:
            heard += len(link.recv(60_000))
            if time.monotonic() < until:
                leaves_fast.wait(0.06)
        link.sendall(OK)

    os.ftruncate(file, 16 << 20)
    connections = Connections(0.4)
    with listening(slowly) as place:
        answer = put(connections, place, FileBody(Slice(file, 0, 16 << 20), framed=False)).run()
    connections.close()
    assert (answer.status, answer.error) == (200, None)


def test_a_request_broken_off_before_it_began_touches_no_file(connections: Connections, file: int) -> None:
    with listening(lambda link: None) as place:
        body = FileBody(Slice(file, 0, 100), framed=False)
        exchange = put(connections, place, body)
        assert not exchange.break_off()
        assert exchange.run().error is not None
    assert body.crc64nvme == 0


def test_a_connection_that_can_not_be_made_is_a_failure_of_the_network_and_not_of_the_file(connections: Connections, file: int) -> None:
    body = FileBody(Slice(file, 0, 10), framed=True)
    answer = put(connections, Place("127.0.0.1", 1, "/no/such/certificates.pem"), body).run()
    assert isinstance(answer.error, OSError)
    assert body.failure is None


def test_an_answer_longer_than_asked_for_writes_nothing_beyond(connections: Connections, file: int) -> None:
    before = os.pread(file, 100, 200)
    with listening(lambda link: (head_of(link), link.sendall(b"HTTP/1.1 206 P\r\nContent-Length: 500\r\n\r\n" + bytes(500)))[1]) as place:
        sink = FileSink(Slice(file, 0, 200))
        answer = get(connections, place, sink).run()
    assert answer.error is not None
    assert isinstance(sink.failure, ValueError)
    assert os.pread(file, 100, 200) == before


def test_a_body_cut_short_is_seen_by_its_length(connections: Connections, file: int) -> None:
    with listening(lambda link: (head_of(link), link.sendall(b"HTTP/1.1 206 P\r\nContent-Length: 500\r\n\r\n" + bytes(300)))[1]) as place:
        sink = FileSink(Slice(file, 0, 500))
        answer = get(connections, place, sink).run()
    assert sink.received == 300 or answer.error is not None


def test_an_answer_that_breaks_off_is_no_answer_of_fewer_bytes(connections: Connections, file: int) -> None:
    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(400))

    with listening(story) as place:
        answer = get(connections, place, FileSink(Slice(file, 0, 1000))).run()
    assert "IncompleteRead" in repr(answer.error)


def test_answers_that_stop_in_the_middle_do_not_hold_up_another(file: int) -> None:
    """Only a few threads read at a time: who waits for its connection is none of them."""
    heard, release = threading.Barrier(5), threading.Event()

    def stops(link: socket.socket) -> None:
        head_of(link)
        link.sendall(b"HTTP/1.1 206 P\r\nContent-Length: 1000000\r\n\r\n" + bytes(300_000))
        heard.wait(5)
        release.wait(10)

    def goes_on(link: socket.socket) -> None:
        head_of(link)
        link.sendall(b"HTTP/1.1 206 P\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000))

    connections = Connections(5.0)
    ended: list[Answer] = []
    with ExitStack() as servers:
        stopping = [get(connections, servers.enter_context(listening(stops)), FileSink(Slice(file, 0, 1_000_000))) for _ in range(4)]
        threads = [threading.Thread(target=lambda one=one: ended.append(one.run())) for one in stopping]
        for thread in threads:
            thread.start()
        heard.wait(5)
        place = servers.enter_context(listening(goes_on))
        answer = get(connections, place, FileSink(Slice(file, 0, 1_000_000))).run()
        assert (answer.status, answer.error, ended) == (206, None, [])
        assert all(one.break_off() for one in stopping)
        for thread in threads:
            thread.join(2)
        assert len(ended) == 4
        release.set()
    connections.close()


@pytest.mark.parametrize("size", [0, 100, 2 * SENT_BYTES])
def test_an_answer_that_ends_its_connection_comes_whole(connections: Connections, file: int, size: int) -> None:
    content = os.urandom(size)

    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(content) + content)

    sink = FileSink(Slice(file, 5, len(content)))
    with listening(story, story) as place:
        for _ in range(2):
            answer = get(connections, place, sink).run()
            assert (answer.status, answer.error, sink.crc64nvme) == (200, None, crc64nvme(content))
    assert os.pread(file, len(content), 5) == content


@pytest.mark.parametrize("chunked", [True, False])
def test_an_answer_of_untold_length_comes_whole(connections: Connections, file: int, chunked: bool) -> None:
    content = os.urandom(SENT_BYTES + 99)

    def story(link: socket.socket) -> None:
        head_of(link)
        if chunked:
            link.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(content) + content + b"\r\n0\r\n\r\n")
        else:
            link.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + content)

    sink = FileSink(Slice(file, 0, len(content)))
    with listening(story) as place:
        answer = get(connections, place, sink).run()
    assert (answer.status, answer.error, sink.received) == (200, None, len(content))
    assert os.pread(file, len(content), 0) == content


def test_an_answer_that_takes_many_pieces_comes_whole(connections: Connections, file: int) -> None:
    content = os.urandom(2 * TAKEN_BYTES + 99)

    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(b"HTTP/1.1 206 P\r\nContent-Length: %d\r\n\r\n" % len(content) + content)

    sink = FileSink(Slice(file, 5, len(content)))
    with listening(story) as place:
        answer = get(connections, place, sink).run()
    assert (answer.status, answer.error, sink.received, sink.crc64nvme) == (206, None, len(content), crc64nvme(content))
    assert os.pread(file, len(content), 5) == content


def test_an_answer_in_drops_is_read_whole_and_its_connection_used_again(connections: Connections) -> None:
    begun = threading.Event()
    ours: list[socket.socket] = []

    def story(link: socket.socket) -> None:
        assert begun.wait(5)
        content = b"HTTP/1.1 200 OK\r\nETag: y\r\nContent-Length: 8\r\n\r\n"
        head_of(link)
        for drop in (content[:5], content[5:19], content[19:-2], content[-2:], b"whol", b"e."):
            link.sendall(drop)
            await_read(link, ours[0])
        link.sendall(b"..")
        head_of(link)
        link.sendall(OK)

    with listening(story) as place:
        ours.append(connected(connections, place))
        begun.set()
        answers = [post(connections, place).run() for _ in range(2)]
    assert [(answer.status, answer.headers["etag"], answer.body, answer.error) for answer in answers] == [
        (200, "y", b"whole...", None),
        (200, "x", b"", None),
    ]


def test_an_answer_in_chunks_is_read_whole_and_its_connection_used_again(connections: Connections) -> None:
    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwhol\r\n2\r\ne.\r\n0\r\n\r\n")
        head_of(link)
        link.sendall(OK)

    with listening(story) as place:
        answers = [post(connections, place).run() for _ in range(2)]
    assert [(answer.status, answer.body, answer.error) for answer in answers] == [(200, b"whole.", None), (200, b"", None)]


def test_of_an_answer_too_long_to_keep_the_rest_is_not_taken_for_the_next_one(connections: Connections) -> None:
    content = os.urandom(300_000)

    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(b"HTTP/1.1 403 F\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
        head_of(link)
        link.sendall(OK)

    with listening(story) as place:
        answers = [post(connections, place).run() for _ in range(2)]
    assert [(answer.status, answer.error) for answer in answers] == [(403, None), (200, None)]
    assert answers[0].body
    assert content.startswith(answers[0].body)


@pytest.mark.parametrize("told", [b"close", b"Keep-Alive, Close"])
@pytest.mark.parametrize("end", [b"Content-Length: 6\r\n\r\nwhole.", b"Transfer-Encoding: chunked\r\n\r\n6\r\nwhole.\r\n0\r\n\r\n"])
def test_after_an_answer_that_says_close_the_next_request_has_another_connection(connections: Connections, told: bytes, end: bytes) -> None:
    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(b"HTTP/1.1 200 OK\r\nConnection: %b\r\n" % told + end)
        everything(link)  # a request that came here would not be answered

    with listening(story, story) as place:
        answers = [post(connections, place).run() for _ in range(2)]
    assert [(answer.status, answer.body, answer.error) for answer in answers] == [(200, b"whole.", None)] * 2


def test_an_answer_that_lasts_as_long_as_its_connection_is_read_whole(connections: Connections) -> None:
    content = os.urandom(50_000)

    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + content)

    with listening(story, story) as place:
        answers = [post(connections, place).run() for _ in range(2)]
    assert [(answer.status, answer.body, answer.error) for answer in answers] == [(200, content, None)] * 2


@pytest.mark.parametrize("value", ["s3cret\r\nx-other: 1", "s3cret\n", "s3\rcret", "s3cret\0"])
def test_a_header_with_a_line_break_is_refused_without_being_told(value: str) -> None:
    with pytest.raises(UnfitForHead, match="x-amz-meta-a") as refused:
        request_head("PUT", "/b/k", {"host": "h", "x-amz-meta-a": value})
    assert "s3" not in str(refused.value)


def test_a_request_with_a_line_break_in_a_header_is_not_sent_at_all(connections: Connections) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = Place("127.0.0.1", server.getsockname()[1], None)
        headers = {"host": place.host, "x-amz-meta-a": "1\r\nx-other: 1"}
        answer = Exchange(connections, place, lambda: WireRequest("GET", request_head("GET", "/b/k", headers))).run()
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert isinstance(answer.error, UnfitForHead)
    assert answer.status is None


def test_a_request_that_may_take_long_leaves_its_connection_as_impatient_as_it_was() -> None:
    def story(link: socket.socket) -> None:
        for _ in range(2):
            head_of(link)
            link.settimeout(0.3)  # longer than the connections of this test bear
            with suppress(OSError):
                link.recv(1)
            link.settimeout(None)
            with suppress(OSError):
                link.sendall(OK)

    with listening(story) as place:
        connections = Connections(0.1)
        patient = WireRequest("POST", request_head("POST", "/k", {}), patience_seconds=5.0)
        assert Exchange(connections, place, lambda: patient).run().status == 200
        hurried = Exchange(connections, place, lambda: WireRequest("GET", request_head("GET", "/k", {}))).run()
        assert isinstance(hurried.error, TimeoutError)
        connections.close()
