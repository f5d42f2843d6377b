"""What is read without boto3 is what boto3 would have read, or is left to it."""

from __future__ import annotations

import asyncio
import socket

import pytest

from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.settings import S3Settings
from spotguard.ports.object_store import StoreUnavailable
from tests.unit.adapters.test_wire import Story, head_of, listening

pytestmark = pytest.mark.usefixtures("plain_aws_environment")


def _answers(body: bytes, length: int) -> Story:
    def story(link: socket.socket) -> None:
        head_of(link)
        link.sendall(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: %d\r\n\r\n' % length + body)

    return story


def _read(*stories: Story) -> bytes:
    with listening(*stories) as place:
        access = S3Access(S3Settings("bucket", endpoint_url=f"http://127.0.0.1:{place.port}"))

        async def ask() -> bytes:
            try:
                answer = await access.call("get_object", access.subject("read", "k"), {"Key": "k"}, proof="ETag", max_body=10_000)
                return bytes(answer["Body"])
            finally:
                access.close()

        return asyncio.run(ask())


def test_an_object_whose_answer_breaks_off_is_read_again() -> None:
    assert _read(_answers(bytes(400), 1000), _answers(b"x" * 1000, 1000)) == b"x" * 1000


def test_an_object_whose_answer_breaks_off_every_time_is_an_outage_and_not_a_shorter_object() -> None:
    with pytest.raises(StoreUnavailable):
        _read(_answers(bytes(400), 1000), _answers(bytes(400), 1000))


def test_an_outage_is_told_at_once_and_not_tried_by_another_way_too() -> None:
    asked: list[bytes] = []

    def hangs_up(link: socket.socket) -> None:
        asked.append(head_of(link)[0])

    with pytest.raises(StoreUnavailable, match="cannot read s3://bucket/k"):
        _read(hangs_up)
    assert len(asked) == 1


def test_a_store_that_throttles_is_not_asked_again_before_its_time() -> None:
    asked: list[bytes] = []

    def throttles(link: socket.socket) -> None:
        asked.append(head_of(link)[0])
        body = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"
        link.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with pytest.raises(StoreUnavailable, match="SlowDown"):
        _read(throttles)
    assert len(asked) == 1
