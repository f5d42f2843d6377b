"""How a multipart upload ends: what the store is told, how long it may take, and which answers are none."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.settings import S3Settings
from spotguard.adapters.s3.transfer import HttpPartTransfer
from spotguard.adapters.wire.connections import Place
from spotguard.core.checksum import encode_crc64
from spotguard.ports.object_store import ChecksumRefused, ConcurrentWrite, ObjectExists, StoreError, StoreUnavailable, UploadMissing
from spotguard.ports.part_transfer import SentObject, SentPart, Upload
from tests.unit.adapters.test_multipart_begin import BEGUN
from tests.unit.adapters.test_wire import Story, head_of, listening

pytestmark = pytest.mark.usefixtures("plain_aws_environment", "without_proxy")

DONE = (
    b'<CompleteMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<Key>a/k</Key><ETag>&quot;e-2&quot;</ETag></CompleteMultipartUploadResult>"
)
PARTS = [SentPart(1, 5, 'a"<&>', 11), SentPart(2, 3, "b", 22)]
STALL_SECONDS, PATIENT_SECONDS = 0.2, 1.5


@contextmanager
def listening_at_once(*stories: Story) -> Iterator[Place]:
    """Plays one story per connection, side by side."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(len(stories) + 1) as threads:

        def play(story: Story, link: socket.socket) -> None:
            with link:
                story(link)

        def serve() -> None:
            for told in [threads.submit(play, story, server.accept()[0]) for story in stories]:
                told.result(10)

        served = threads.submit(serve)
        yield Place("127.0.0.1", server.getsockname()[1], None)
        served.result(10)


class Completed:
    """What came of completing an upload, with a store that does these things with the requests of one connection each."""

    def __init__(self, *replies: Callable[[socket.socket], None], only_new: bool = True) -> None:
        self.requests: list[str] = []
        self.headers: dict[str, str] = {}
        self.body = b""
        self.outcome: SentObject | StoreError
        self._only_new = only_new
        with listening(*map(self._story, replies)) as place:
            asyncio.run(self._complete(f"http://{place.host}:{place.port}"))

    def _story(self, reply: Callable[[socket.socket], None]) -> Story:
        def story(link: socket.socket) -> None:
            head, self.body = head_of(link)
            first, *lines = head.decode().split("\r\n")
            self.requests.append(first)
            self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            while len(self.body) < int(self.headers.get("content-length", 0)):
                self.body += link.recv(65536)
            reply(link)

        return story

    async def _complete(self, endpoint: str) -> None:
        access = S3Access(S3Settings("bucket", endpoint_url=endpoint), stall_seconds=STALL_SECONDS)
        transfer = HttpPartTransfer(access, stall_seconds=STALL_SECONDS, patient_seconds=PATIENT_SECONDS)
        try:
            self.outcome = await transfer.complete(Upload("a/k", "u/1+2="), PARTS, only_new=self._only_new)
        except StoreError as error:
            self.outcome = error
        await transfer.close()
        access.close()


def answer(body: bytes, status: int = 200) -> Callable[[socket.socket], None]:
    return lambda link: link.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)


def error(code: str) -> bytes:
    return f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>no</Message></Error>'.encode()


def test_the_store_is_told_which_parts_make_the_object_and_what_it_must_come_to() -> None:
    completed = Completed(answer(DONE))
    assert isinstance(completed.outcome, SentObject)
    assert completed.outcome[:3] == ("a/k", 8, "e-2")
    assert completed.requests == ["POST /bucket/a/k?uploadId=u%2F1%2B2%3D HTTP/1.1"]
    assert completed.headers["x-amz-checksum-crc64nvme"] == encode_crc64(completed.outcome.crc64nvme)
    assert completed.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert completed.headers["x-amz-mp-object-size"] == "8"
    assert completed.headers["if-none-match"] == "*"
    assert completed.body == (
        b'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b'<Part><PartNumber>1</PartNumber><ETag>"a"&lt;&amp;&gt;"</ETag></Part>'
        b'<Part><PartNumber>2</PartNumber><ETag>"b"</ETag></Part></CompleteMultipartUpload>'
    )


def test_an_object_that_may_replace_another_is_bound_to_no_condition() -> None:
    completed = Completed(answer(DONE), only_new=False)
    assert "if-none-match" not in completed.headers


def test_a_store_that_works_at_it_and_says_nothing_meanwhile_is_waited_for_longer_than_for_other_answers() -> None:
    def slow(link: socket.socket) -> None:
        link.settimeout(1.0)
        with pytest.raises(TimeoutError):
            link.recv(1)  # the other side neither goes nor says anything
        waited.set()
        answer(DONE)(link)

    waited = threading.Event()
    assert isinstance(Completed(slow).outcome, SentObject)
    assert waited.is_set()


def test_white_space_before_and_within_the_document_means_that_the_store_is_at_work() -> None:
    def slow(link: socket.socket) -> None:
        link.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b'<?xml version="1.0" encoding="UTF-8"?>\n', b" ", b"\n ", DONE):
            link.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        link.sendall(b"0\r\n\r\n")

    assert isinstance(Completed(slow).outcome, SentObject)
    assert isinstance(Completed(answer(b" \n " + DONE)).outcome, SentObject)


def test_a_store_that_says_nothing_for_too_long_did_not_answer() -> None:
    def silent(link: socket.socket) -> None:
        assert link.recv(1) == b""  # until the other side goes

    assert isinstance(Completed(silent).outcome, StoreUnavailable)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, error("InternalError"), StoreUnavailable),
        (200, error("SlowDown"), StoreUnavailable),
        (200, error("WhatIsThis"), StoreUnavailable),
        (200, error("PreconditionFailed"), ObjectExists),
        (200, error("BadDigest"), ChecksumRefused),
        (404, error("NoSuchUpload"), UploadMissing),
        (404, b"", UploadMissing),
        (409, error("ConditionalRequestConflict"), ConcurrentWrite),
        (412, error("PreconditionFailed"), ObjectExists),
        (503, error("SlowDown"), StoreUnavailable),
        (200, b"<html>Welcome to our hotel</html>", StoreUnavailable),
        (200, b"welcome", StoreUnavailable),
        (200, b"", StoreUnavailable),
        (200, DONE[:-30], StoreUnavailable),
        (200, DONE.replace(b"Complete", b"Initiate"), StoreUnavailable),
        (200, b'<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Code>InternalError</Code><Key>k</Key></Error>', StoreUnavailable),
    ],
)
def test_what_is_no_success_makes_no_object(status: int, body: bytes, kind: type[StoreError]) -> None:
    assert type(Completed(answer(body, status)).outcome) is kind


def test_an_etag_that_the_store_leaves_out_is_asked_for() -> None:
    done = DONE.replace(b"&quot;e-2&quot;", b"")

    def facts(link: socket.socket) -> None:
        link.sendall(
            b'HTTP/1.1 200 OK\r\nETag: "asked"\r\nContent-Length: 8\r\n'
            b"Last-Modified: Sun, 29 Nov 2026 10:00:00 GMT\r\nConnection: close\r\n\r\n"
        )

    completed = Completed(answer(done), facts)
    assert isinstance(completed.outcome, SentObject)
    assert completed.outcome.etag == "asked"
    assert completed.requests[1] == "HEAD /bucket/a/k HTTP/1.1"


def test_one_that_was_cut_off_is_not_sent_again_at_once_because_the_store_may_be_at_work() -> None:
    heard: list[str] = []

    def hears(link: socket.socket) -> None:
        heard.append(head_of(link)[0].decode().partition(" HTTP")[0])

    def begins(link: socket.socket) -> None:
        hears(link)
        answer(BEGUN)(link)

    def begins_then_hangs_up(link: socket.socket) -> None:
        begins(link)
        hears(link)

    async def story(endpoint: str) -> None:
        access = S3Access(S3Settings("bucket", endpoint_url=endpoint))
        transfer = HttpPartTransfer(access, stall_seconds=5.0)
        upload = await transfer.begin("a/k", metadata={})
        with pytest.raises(StoreUnavailable):
            await transfer.complete(upload, PARTS, only_new=True)
        await transfer.begin("a/next", metadata={})
        await transfer.close()
        access.close()

    with listening(begins_then_hangs_up, begins) as place:
        asyncio.run(story(f"http://{place.host}:{place.port}"))
    assert heard == ["POST /bucket/a/k?uploads=", "POST /bucket/a/k?uploadId=u-1", "POST /bucket/a/next?uploads="]


def test_one_that_the_store_works_at_for_long_keeps_no_other_request_waiting() -> None:
    begun, may_end = threading.Barrier(3), threading.Event()

    def slow(link: socket.socket) -> None:
        head_of(link)
        begun.wait(10)
        may_end.wait(10)
        answer(DONE)(link)

    def quick(link: socket.socket) -> None:
        head_of(link)
        answer(BEGUN)(link)

    async def story(endpoint: str) -> None:
        access = S3Access(S3Settings("bucket", endpoint_url=endpoint, connections=1))
        transfer = HttpPartTransfer(access, stall_seconds=5.0)
        slow_ones = [asyncio.ensure_future(transfer.complete(Upload(f"a/{n}", "u"), PARTS, only_new=True)) for n in range(2)]
        await asyncio.to_thread(begun.wait, 10)
        assert (await transfer.begin("a/k", metadata={})).upload_id == "u-1"
        may_end.set()
        await asyncio.gather(*slow_ones)
        await transfer.close()
        access.close()

    with listening_at_once(slow, slow, quick) as place:
        asyncio.run(story(f"http://{place.host}:{place.port}"))
