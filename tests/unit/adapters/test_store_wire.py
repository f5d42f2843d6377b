"""What our own requests carry over the wire: when they are signed anew, with whose key, and what of them is signed."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from awscrt.checksums import crc64nvme

from spotguard.adapters.s3 import credentials, signing, store_wire
from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.bulk_sending import BulkSender
from spotguard.adapters.s3.part_sending import BodySender, Target
from spotguard.adapters.s3.settings import S3Settings
from spotguard.adapters.s3.store_wire import StoreWire
from spotguard.adapters.wire.connections import Place
from spotguard.core.checksum import encode_crc64
from spotguard.ports.bulk_send import Offered
from spotguard.ports.object_store import StoreUnavailable
from spotguard.ports.part_transfer import Slice
from tests.unit.adapters.test_wire import OK, Story, head_of, listening

pytestmark = pytest.mark.usefixtures("plain_aws_environment", "without_proxy")


class WallClock:
    """That of the machine, for whoever signs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.0
        monkeypatch.setattr(store_wire, "time", SimpleNamespace(time=lambda: self.now))
        monkeypatch.setattr(signing, "time", SimpleNamespace(gmtime=lambda: time.gmtime(self.now), strftime=time.strftime))

    @property
    def told(self) -> str:
        """As a request tells it."""
        return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    return WallClock(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(fd, os.urandom(70_000))
    yield fd
    os.close(fd)


def fields(head: bytes) -> dict[str, str]:
    """A request's headers, by their names in lower case."""
    lines = [line.decode().partition(": ") for line in head.split(b"\r\n")[1:]]
    assert len(lines) == len({name.lower() for name, _, _ in lines}), "a header came twice"
    return {name.lower(): value for name, _, value in lines}


def signature(sent: dict[str, str]) -> str:
    return sent["authorization"].rpartition("Signature=")[2]


def hearing(heads: list[dict[str, str]], count: int) -> Story:
    def story(link: socket.socket) -> None:
        for _ in range(count):
            heads.append(fields(head_of(link)[0]))
            link.sendall(OK)

    return story


@asynccontextmanager
async def wire_to(place: Place) -> AsyncIterator[tuple[StoreWire, S3Access]]:
    access = S3Access(S3Settings("bucket", region="us-east-1", endpoint_url=f"http://{place.host}:{place.port}"))
    wire = StoreWire(access, 5.0)
    try:
        await wire.ready(access.subject("read"))
        yield wire, access
    finally:
        await wire.close()
        access.close()


async def get(wire: StoreWire, access: S3Access, key: str) -> None:
    answer = await wire.perform("GET", wire.path(key), {}, access.subject("read", key), 5.0)
    assert (answer.status, answer.error) == (200, None)


def test_requests_within_a_minute_have_the_same_time_and_each_its_own_signature(clock: WallClock) -> None:
    heads: list[dict[str, str]] = []

    async def ask(place: Place) -> None:
        async with wire_to(place) as (wire, access):
            await get(wire, access, "a")
            clock.now += 59
            await get(wire, access, "b")
            await get(wire, access, "a")

    with listening(hearing(heads, 3)) as place:
        began = clock.told
        asyncio.run(ask(place))
    assert [sent["x-amz-date"] for sent in heads] == [began] * 3
    assert signature(heads[0]) == signature(heads[2]) != signature(heads[1])


@pytest.mark.parametrize("seconds", [61, -61])
def test_once_the_clock_has_moved_by_more_than_a_minute_requests_are_signed_with_its_time(clock: WallClock, seconds: float) -> None:
    heads: list[dict[str, str]] = []

    async def ask(place: Place) -> None:
        async with wire_to(place) as (wire, access):
            await get(wire, access, "a")
            clock.now += seconds
            await get(wire, access, "a")

    with listening(hearing(heads, 2)) as place:
        began = clock.told
        asyncio.run(ask(place))
    assert [sent["x-amz-date"] for sent in heads] == [began, clock.told]
    assert signature(heads[0]) != signature(heads[1])


def test_other_credentials_sign_the_very_next_request(monkeypatch: pytest.MonkeyPatch, clock: WallClock) -> None:
    heads: list[dict[str, str]] = []
    monkeypatch.setattr(credentials, "_REREAD_SECONDS", 0.0)

    async def ask(place: Place) -> None:
        async with wire_to(place) as (wire, access):
            await get(wire, access, "a")
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
            monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
            assert access.identity.renew()
            await get(wire, access, "a")

    with listening(hearing(heads, 2)) as place:
        asyncio.run(ask(place))
    assert [re.search("Credential=([^/]*)/", sent["authorization"])[1] for sent in heads] == ["key", "another"]  # type: ignore[index]
    assert [sent.get("x-amz-security-token") for sent in heads] == [None, "token"]


def test_a_framed_body_goes_by_its_length_on_the_wire_and_tells_that_of_its_content(file: int) -> None:
    content = os.pread(file, 60_000, 77)
    heard: list[tuple[dict[str, str], bytes]] = []

    def story(link: socket.socket) -> None:
        head, body = head_of(link)
        sent = fields(head)
        while len(body) < int(sent["content-length"]):
            body += link.recv(1 << 20)
        heard.append((sent, body))
        told = f'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "e"\r\nx-amz-checksum-crc64nvme: {encode_crc64(crc64nvme(content))}\r\n\r\n'
        link.sendall(told.encode())

    async def send(place: Place) -> None:
        async with wire_to(place) as (wire, access):
            headers = {"x-amz-meta-run": "7", "x-amz-storage-class": "STANDARD_IA"}
            target = Target("k", access.subject("write", "k"), headers, "partNumber=2&uploadId=u")
            assert await BodySender(access, wire, 5.0).send(target, Slice(file, 77, len(content))) == ("e", crc64nvme(content))

    with listening(story) as place:
        asyncio.run(send(place))
    ((sent, body),) = heard
    framed = b"%x\r\n" % len(content) + content + f"\r\n0\r\nx-amz-checksum-crc64nvme:{encode_crc64(crc64nvme(content))}\r\n\r\n".encode()
    assert body == framed
    assert (sent["content-length"], sent["x-amz-decoded-content-length"]) == (str(len(framed)), "60000")
    assert (sent["content-encoding"], sent["x-amz-trailer"]) == ("aws-chunked", "x-amz-checksum-crc64nvme")
    signed = re.search("SignedHeaders=([^,]*),", sent["authorization"])[1].split(";")  # type: ignore[index]
    assert {"host", *(name for name in sent if name.startswith("x-amz-"))} <= set(signed) <= sent.keys()
    assert {"x-amz-meta-run", "x-amz-storage-class"} <= set(signed)


def test_attempts_that_could_not_connect_take_no_time_of_the_cap(file: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = Place("127.0.0.1", server.getsockname()[1], None)  # where nobody listens any more

    async def send() -> None:
        async with wire_to(place) as (wire, access):
            sender, target = BodySender(access, wire, 5.0), Target("k", access.subject("write", "k"), {}, "partNumber=2&uploadId=u")
            sender.cap.set_rate(100.0)
            for _ in range(3):
                async with asyncio.timeout(60):  # each would have 600 s to itself
                    with pytest.raises(StoreUnavailable):
                        await sender.send(target, Slice(file, 0, 60_000))

    asyncio.run(send())


def test_a_batch_that_could_not_connect_takes_no_time_of_the_cap(file: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = Place("127.0.0.1", server.getsockname()[1], None)

    async def send() -> None:
        async with wire_to(place) as (wire, access):
            sender = BodySender(access, wire, 5.0)
            sender.cap.set_rate(100.0)
            offered = [Offered(f"k{number}", Slice(file, 0, 30_000)) for number in range(2)]
            for _ in range(3):
                async with asyncio.timeout(60):
                    assert list(await BulkSender(access, wire, sender).send_all(offered, metadata={})) == [None, None]

    asyncio.run(send())
