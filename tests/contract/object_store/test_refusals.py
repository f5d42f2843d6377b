"""What stands in the way is named: no bucket, another region, no credentials, no network; `denied` is never `empty`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spotguard.adapters.s3.connection import S3Settings, connect
from spotguard.adapters.wire.aws_chunked import CRC_HEADER
from spotguard.ports.object_store import BucketMissing, ChecksumRefused, StoreDenied, StoreRejected, StoreUnavailable
from spotguard.ports.part_transfer import SentPart, Slice, Upload
from tests.contract.object_store.benches import Bench
from tests.contract.object_store.scripted_server import Reply, ScriptedServer, serving


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "source"
    path.write_bytes(os.urandom(2_000_000))
    opened = os.open(path, os.O_RDWR)
    yield opened
    os.close(opened)


def error_xml(code: str, message: str = "because", more: str = "") -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>".encode()


async def test_a_bucket_that_does_not_exist_is_told_at_the_start_and_by_every_verb(server: Bench, fd: int) -> None:
    assert server.settings is not None
    absent = replace(server.settings, bucket="bench-absent")
    with pytest.raises(BucketMissing, match="bench-absent") as told:
        async with connect(absent):
            pass
    assert "destination.url" in told.value.fix
    async with connect(absent, check=False) as there:
        for request in (
            there.store.list(""),
            there.store.head("k"),
            there.store.read("k"),
            there.store.create("k", b""),
            there.transfer.put("k", Slice(fd, 0, 10), only_new=True, metadata={}),
            there.transfer.begin("k", metadata={}),
            there.transfer.unfinished(""),
            there.transfer.fetch("k", Slice(fd, 0, 10)),
        ):
            with pytest.raises(BucketMissing):
                await request


async def test_a_wrong_secret_is_denied_and_never_looks_empty(server: Bench, fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not server.quirks.checks_credentials:
        pytest.skip(f"{server.quirks.name} checks no credentials")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert server.settings is not None
    async with connect(server.settings) as there:
        for request in (
            there.store.list(""),
            there.store.head("k"),
            there.store.delete(["k", "l"]),
            there.transfer.put("k", Slice(fd, 0, 10), only_new=True, metadata={}),
            there.transfer.fetch("k", Slice(fd, 0, 10)),
        ):
            with pytest.raises(StoreDenied, match="cannot"):
                await request


async def test_missing_credentials_are_told_at_the_start_and_found_when_they_come(
    server: Bench, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.settings is not None
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StoreDenied, match="credentials") as told:
        async with connect(server.settings):
            pass
    assert "AWS_ACCESS_KEY_ID" in told.value.fix
    async with connect(server.settings, check=False) as there:
        with pytest.raises(StoreDenied):
            await there.store.list("")
        with pytest.raises(StoreDenied):
            await there.transfer.put("k", Slice(fd, 0, 10), only_new=True, metadata={})
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        assert await there.store.list("") == []
        assert (await there.transfer.put("k", Slice(fd, 0, 10), only_new=True, metadata={})).size == 10


async def test_a_store_that_is_down_is_unavailable_and_connecting_does_not_wait_for_it(aws_environment: None, fd: int) -> None:
    async with connect(S3Settings("bench", endpoint_url="http://127.0.0.1:9")) as there:
        for request in (
            there.store.list(""),
            there.store.head("k"),
            there.transfer.put("k", Slice(fd, 0, 10), only_new=True, metadata={}),
            there.transfer.fetch("k", Slice(fd, 0, 10)),
        ):
            with pytest.raises(StoreUnavailable, match="cannot"):
                await request


REFUSED = [
    (Reply(301, error_xml("PermanentRedirect"), {"x-amz-bucket-region": "eu-west-1"}), BucketMissing, "eu-west-1"),
    (
        Reply(400, error_xml("AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-central-1'")),
        BucketMissing,
        "eu-central-1",
    ),
    (Reply(403, error_xml("RequestTimeTooSkewed")), StoreDenied, "clock"),
    (Reply(400, error_xml("ExpiredToken")), StoreDenied, "ExpiredToken"),
    (Reply(403, error_xml("AccessDenied")), StoreDenied, "AccessDenied"),
    (Reply(503, error_xml("SlowDown")), StoreUnavailable, "cannot"),
    (Reply(400, error_xml("RequestTimeout")), StoreUnavailable, "RequestTimeout"),
    (Reply(200, b"<html>captive portal</html>"), StoreUnavailable, "cannot"),
    (Reply(500, b"<html>proxy</html>"), StoreUnavailable, "cannot"),
]


@pytest.mark.parametrize(("reply", "kind", "says"), REFUSED, ids=lambda value: getattr(value, "name", None))
async def test_the_store_s_refusals_have_one_meaning_on_both_ways(
    aws_environment: None, fd: int, reply: Reply, kind: type[Exception], says: str
) -> None:
    async with serving(reply) as endpoint, connect(S3Settings("bench", endpoint_url=endpoint), check=False) as there:
        with pytest.raises(kind, match=says):
            await there.store.list("")
        with pytest.raises(kind, match=says):
            await there.transfer.put("k", Slice(fd, 0, 10), only_new=True, metadata={})


async def test_a_stranger_s_success_is_none(aws_environment: None, fd: int) -> None:
    """A captive portal answers 200 to everything."""
    portal = Reply(200, b"<html><body>Log in</body></html>", {"content-type": "text/html"})
    async with serving(portal) as endpoint, connect(S3Settings("bench", endpoint_url=endpoint), check=False) as there:
        for request in (
            there.store.list(""),
            there.store.head("k"),
            there.store.read("k"),
            there.store.create("k", b"x"),
            there.transfer.put("k", Slice(fd, 0, 10), only_new=True, metadata={}),
            there.transfer.begin("k", metadata={}),
            there.transfer.unfinished(""),
            there.transfer.parts(Upload("k", "u")),
            there.transfer.complete(Upload("k", "u"), [SentPart(1, 10, "e", 1)], only_new=True),
            there.transfer.fetch("k", Slice(fd, 0, 10)),
            there.transfer.fetch("k", Slice(fd, 0, 1000)),
        ):
            with pytest.raises((StoreUnavailable, StoreRejected)):
                await request


async def test_a_store_that_accepts_and_never_answers_is_given_up(aws_environment: None, fd: int) -> None:
    loop = asyncio.get_running_loop()
    async with (
        serving(None) as endpoint,
        connect(S3Settings("bench", endpoint_url=endpoint), check=False, stall_seconds=0.3) as there,
    ):
        for request in (
            there.transfer.put("k", Slice(fd, 0, 1000), only_new=True, metadata={}),
            there.transfer.fetch("k", Slice(fd, 0, 1000)),
        ):
            began = loop.time()
            with pytest.raises(StoreUnavailable, match="no answer within"):
                await request
            assert loop.time() - began < 3


async def test_a_cancelled_request_has_ended_when_the_cancellation_is_told(aws_environment: None, fd: int) -> None:
    """Also while the body is on its way: after it the descriptor may be closed and its number used by another file."""
    async with serving(None) as endpoint, connect(S3Settings("bench", endpoint_url=endpoint), check=False) as there:
        for request in (
            there.transfer.put("k", Slice(fd, 0, 2_000_000), only_new=True, metadata={}),
            there.transfer.fetch("k", Slice(fd, 0, 2_000_000)),
        ):
            task = asyncio.create_task(request)
            await asyncio.sleep(0.2)
            task.cancel()
            async with asyncio.timeout(2):
                await asyncio.wait([task])
            assert task.cancelled()


async def test_two_stores_on_one_host_are_not_mixed_up(aws_environment: None, fd: int) -> None:
    """Connections are kept by host and port."""
    one, two = Reply(200, b"", {"etag": '"one"'}), Reply(200, b"", {"etag": '"two"'})
    async with (
        serving(one) as first,
        serving(two) as second,
        connect(S3Settings("bench", endpoint_url=first), check=False) as here,
        connect(S3Settings("bench", endpoint_url=second), check=False) as there,
    ):
        sent = [(await side.transfer.put("k", Slice(fd, 0, 100), only_new=False, metadata={})).etag for side in (here, there, here, there)]
        assert sent == ["one", "two", "one", "two"]


async def test_a_store_that_reports_another_sum_is_not_believed(aws_environment: None, fd: int) -> None:
    reply = Reply(200, b"", {"etag": '"x"', "x-amz-checksum-crc64nvme": "AAAAAAAAAAE="})
    async with serving(reply) as endpoint, connect(S3Settings("bench", endpoint_url=endpoint), check=False) as there:
        with pytest.raises(ChecksumRefused):
            await there.transfer.put("k", Slice(fd, 0, 100), only_new=False, metadata={})


async def test_a_store_that_keeps_the_framing_as_content_is_found_out_at_once(aws_environment: None, fd: int) -> None:
    """It knows nothing of aws-chunked, so what it stores is longer than what was sent; the next attempt comes plain."""
    server = ScriptedServer(Reply(200, b"", {"etag": '"x"', "last-modified": "Tue, 24 Nov 2026 00:00:00 GMT"}), claims_bytes=154)
    async with serving(server) as endpoint, connect(S3Settings("bench", endpoint_url=endpoint), check=False) as there:
        with pytest.raises(ChecksumRefused, match="aws-chunked"):
            await there.transfer.put("k", Slice(fd, 0, 100), only_new=False, metadata={})
        await there.transfer.put("k", Slice(fd, 0, 100), only_new=False, metadata={})
    assert ["x-amz-trailer" in headers for headers in server.heard] == [True, False, False]
    assert "content-md5" in server.heard[-1]


async def test_the_size_of_another_part_says_nothing_of_the_framing(aws_environment: None, fd: int) -> None:
    """A store that lists from the first part whatever marker it is given, and the last part is smaller than the first."""
    listed = "<Part><PartNumber>1</PartNumber><ETag>x</ETag><Size>1000000</Size></Part>"
    reply = Reply(200, f"<ListPartsResult><IsTruncated>false</IsTruncated>{listed}</ListPartsResult>".encode(), {"etag": '"x"'})
    server = ScriptedServer(reply)
    async with serving(server) as endpoint, connect(S3Settings("bench", endpoint_url=endpoint), check=False) as there:
        for number in (3, 2):
            sent = await there.transfer.send_part(Upload("k", "1"), number, Slice(fd, 0, 100))
            assert sent.size == 100
    assert [headers["x-amz-trailer"] for headers in server.heard if "x-amz-decoded-content-length" in headers] == [CRC_HEADER] * 2
    assert len(server.heard) == 3, "it was looked at once"


async def test_what_is_sent_carries_the_settings_of_the_bucket(aws_environment: None, fd: int) -> None:
    settings = S3Settings("bench", storage_class="STANDARD_IA", sse="aws:kms", kms_key_id="key-1")
    reply = Reply(200, b"", {"etag": '"x"'})
    server = ScriptedServer(reply)
    async with (
        serving(server) as endpoint,
        connect(replace(settings, endpoint_url=endpoint), check=False) as there,
    ):
        await there.transfer.put("k", Slice(fd, 0, 100), only_new=True, metadata={"spotguard-run": "s3://b/r"})
        await there.store.create("j", b"{}", metadata={"spotguard-run": "s3://b/r"})
    writes = [headers for headers in server.heard if "x-amz-content-sha256" in headers and "if-none-match" in headers]
    for headers in writes:
        assert headers["x-amz-storage-class"] == "STANDARD_IA"
        assert headers["x-amz-server-side-encryption"] == "aws:kms"
        assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-1"
        assert headers["x-amz-meta-spotguard-run"] == "s3://b/r"
        assert headers["if-none-match"] == "*"
    assert len(writes) == 2
