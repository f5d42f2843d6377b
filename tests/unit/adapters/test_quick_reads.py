"""What is read without boto3 is what boto3 would have read, or is left to it."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from spotguard.adapters.s3_access import S3Access
from spotguard.adapters.s3_settings import S3Settings
from spotguard.ports.object_store import StoreUnavailable
from tests.unit.adapters.test_wire import Story, head_of, listening


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


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
