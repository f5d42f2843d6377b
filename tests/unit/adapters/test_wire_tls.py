"""A body over https, sent or read without blocking: what TLS does beside it must cost neither bytes nor an answer."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from spotguard.adapters.wire.body import FileBody, FileSink
from spotguard.adapters.wire.connections import Connections, Place
from spotguard.adapters.wire.exchange import Answer, Exchange, WireRequest
from spotguard.ports.part_transfer import Slice
from tests.support.request_head import request_head

SIZE = 24 << 20
"""More than the kernel's buffers of both ends hold."""
REFUSAL = b"HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\n\r\nNoSuchUp"
Story = Callable[[socket.socket], None]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of 127.0.0.1, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    form = serialization.Encoding.PEM
    secret = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(secret + made.public_bytes(form))
    return file


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(fd, os.urandom(SIZE))
    yield fd
    os.close(fd)


@contextmanager
def listening(certificate: Path, story: Story) -> Iterator[Place]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            link, _ = server.accept()
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # closing with bytes unread would drop an answer held back
            with context.wrap_socket(link, server_side=True) as secured:
                story(secured)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Place("127.0.0.1", server.getsockname()[1], str(certificate))
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def put(place: Place, file: int, stall_seconds: float = 5.0) -> Iterator[Exchange]:
    body = FileBody(Slice(file, 0, SIZE), framed=False)
    headers = {"host": place.host, "content-length": str(body.content_length)}
    connections = Connections(stall_seconds)
    yield Exchange(connections, place, lambda: WireRequest("PUT", request_head("PUT", "/b/k", headers), body=body))
    connections.close()


def head_of(link: socket.socket) -> bytes:
    """What came with a request's head of its body."""
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += link.recv(65536)
    return heard.partition(b"\r\n\r\n")[2]


def test_a_reader_slower_than_the_sender_gets_every_byte(certificate: Path, file: int) -> None:
    heard, pause = bytearray(), threading.Event()

    def story(link: socket.socket) -> None:
        heard.extend(head_of(link))
        while len(heard) < SIZE:
            heard.extend(link.recv(16_000))
            pause.wait(0.0001)
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with listening(certificate, story) as place, put(place, file) as exchange:
        answer = exchange.run()
    assert (answer.status, answer.error) == (200, None)
    assert heard == os.pread(file, SIZE, 0)


def test_an_early_refusal_is_heard_though_the_store_stops_reading_and_stays(certificate: Path, file: int) -> None:
    release = threading.Event()

    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(REFUSAL)
        release.wait(10)

    with listening(certificate, story) as place, put(place, file) as exchange:
        answer = exchange.run()
        release.set()
    assert (answer.status, answer.body, answer.error) == (404, b"NoSuchUp", None)


def test_an_early_refusal_is_heard_though_the_store_closes(certificate: Path, file: int) -> None:
    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(REFUSAL)

    with listening(certificate, story) as place, put(place, file) as exchange:
        answer = exchange.run()
    assert (answer.status, answer.body, answer.error) == (404, b"NoSuchUp", None)


def test_a_store_that_takes_nothing_is_left_after_the_stall_limit(certificate: Path, file: int) -> None:
    release = threading.Event()

    def story(link: socket.socket) -> None:
        head_of(link)
        release.wait(10)

    with listening(certificate, story) as place, put(place, file, stall_seconds=0.3) as exchange:
        answer = exchange.run()
        release.set()
    assert isinstance(answer.error, TimeoutError)


def test_breaking_off_ends_a_body_that_waits_for_room(certificate: Path, file: int) -> None:
    reading, release = threading.Event(), threading.Event()

    def story(link: socket.socket) -> None:
        head_of(link)
        reading.set()
        release.wait(10)

    answers: list[Answer] = []
    with listening(certificate, story) as place, put(place, file) as exchange:
        thread = threading.Thread(target=lambda: answers.append(exchange.run()))
        thread.start()
        assert reading.wait(5)
        assert exchange.break_off()
        thread.join(4)
        release.set()
    assert answers[0].error is not None
    assert not exchange.break_off()


@contextmanager
def get(place: Place, file: int, size: int, stall_seconds: float = 5.0) -> Iterator[tuple[Callable[[], Exchange], FileSink]]:
    sink = FileSink(Slice(file, 0, size))
    connections = Connections(stall_seconds)
    yield (
        lambda: Exchange(connections, place, lambda: WireRequest("GET", request_head("GET", "/b/k", {}), sink=sink)),
        sink,
    )
    connections.close()


@pytest.mark.parametrize(
    ("size", "record"), [(0, 100), (27, 1), (12_000, 16_384), (3_333_333, 3_000), (3_333_333, 16_384), (3_333_333, 100_000)]
)
def test_an_answer_comes_whole_however_it_is_cut_and_the_connection_is_used_again(
    certificate: Path, file: int, size: int, record: int
) -> None:
    """The end of a record may lie in the library's buffer, where polling the socket does not show it."""
    content = os.urandom(size)

    def story(link: socket.socket) -> None:
        for _ in range(2):
            head_of(link)
            whole = b"HTTP/1.1 206 P\r\nContent-Length: %d\r\n\r\n" % size + content
            for at in range(0, len(whole), record):
                link.sendall(whole[at : at + record])

    with listening(certificate, story) as place, get(place, file, size) as (exchange, sink):
        for _ in range(2):
            os.pwrite(file, bytes(size), 0)
            answer = exchange().run()
            assert (answer.status, answer.error, sink.received) == (206, None, size)
            assert sink.crc64nvme == crc64nvme(content)
            assert os.pread(file, size, 0) == content


@pytest.mark.parametrize("came", [0, 5_000, 2_000_000])
def test_a_store_that_stops_in_the_middle_of_an_answer_is_left_after_the_stall_limit(certificate: Path, file: int, came: int) -> None:
    release = threading.Event()

    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(b"HTTP/1.1 206 P\r\nContent-Length: 3000000\r\n\r\n" + bytes(came))
        release.wait(10)

    with listening(certificate, story) as place, get(place, file, 3_000_000, stall_seconds=0.3) as (exchange, _):
        answer = exchange().run()
        release.set()
    assert isinstance(answer.error, TimeoutError)


def test_a_connection_that_closes_in_the_middle_of_an_answer_is_no_shorter_answer(certificate: Path, file: int) -> None:
    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(b"HTTP/1.1 206 P\r\nContent-Length: 3000000\r\n\r\n" + bytes(2_000_000))

    with listening(certificate, story) as place, get(place, file, 3_000_000) as (exchange, _):
        answer = exchange().run()
    assert "IncompleteRead" in repr(answer.error)


def test_a_connection_on_which_more_came_than_was_told_is_not_used_again(certificate: Path, file: int) -> None:
    """What is left lies decrypted in the library, where polling the socket does not show it, and would be read as the next answer."""
    release = threading.Event()

    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(b"HTTP/1.1 206 P\r\nContent-Length: 12000\r\n\r\n" + bytes(12_000) + REFUSAL)
        release.wait(10)

    connections, sink = Connections(5.0), FileSink(Slice(file, 0, 12_000))
    with listening(certificate, story) as place:
        answer = Exchange(connections, place, lambda: WireRequest("GET", request_head("GET", "/b/k", {}), sink=sink)).run()
        connection, used_before = connections.take(place)
        connection.close()
        release.set()
    assert (answer.error, sink.received, used_before) == (None, 12_000, False)
