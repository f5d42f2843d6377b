"""How a multipart upload begins: what the store is told, and which answers are none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.settings import S3Settings
from spotguard.adapters.s3.transfer import HttpPartTransfer
from spotguard.ports.object_store import StoreError, StoreRejected, StoreUnavailable
from spotguard.ports.part_transfer import Upload
from tests.unit.adapters.test_wire import head_of, listening

pytestmark = pytest.mark.usefixtures("plain_aws_environment", "without_proxy")

BEGUN = b'<InitiateMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><UploadId>u-1</UploadId></InitiateMultipartUploadResult>'
CHECKSUMS = {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "FULL_OBJECT"}
Outcome = Upload | StoreError


def refused(code: str) -> tuple[int, bytes]:
    return 400, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()


class Begun:
    """What came of beginning so many uploads, one after the other, with a store that answers every request in turn."""

    def __init__(self, *answers: tuple[int, bytes], times: int = 1, **settings: str) -> None:
        self.requests: list[str] = []
        self.sent: list[dict[str, str]] = []
        self.outcomes: list[Outcome] = []
        with listening(self._story(answers)) as place:
            endpoint = f"http://{place.host}:{place.port}"
            asyncio.run(self._begin(S3Settings("bucket", endpoint_url=endpoint, **settings), times))  # type: ignore[arg-type]

    def _story(self, answers: tuple[tuple[int, bytes], ...]) -> Callable[[socket.socket], None]:
        def story(link: socket.socket) -> None:
            for status, body in answers:
                first, *lines = head_of(link)[0].decode().split("\r\n")
                self.requests.append(first)
                self.sent.append({name.lower(): value for name, _, value in (line.partition(": ") for line in lines)})
                link.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)

        return story

    async def _begin(self, settings: S3Settings, times: int) -> None:
        access = S3Access(settings)
        transfer = HttpPartTransfer(access, stall_seconds=5.0)
        for _ in range(times):
            try:
                self.outcomes.append(await transfer.begin("a/k", metadata={"Run": "7", "spotguard-sum": "abc"}))
            except StoreError as error:
                self.outcomes.append(error)
        await transfer.close()
        access.close()

    @property
    def checksums(self) -> list[dict[str, str]]:
        """What each request said of them."""
        return [{name: value for name, value in sent.items() if name.startswith("x-amz-checksum-")} for sent in self.sent]


def test_the_store_is_told_all_that_the_object_is_created_with() -> None:
    begun = Begun((200, BEGUN), storage_class="STANDARD_IA", sse="aws:kms", kms_key_id="key-1")
    assert begun.outcomes == [Upload("a/k", "u-1")]
    assert begun.requests == ["POST /bucket/a/k?uploads= HTTP/1.1"]
    expected = CHECKSUMS | {
        "x-amz-meta-run": "7",
        "x-amz-meta-spotguard-sum": "abc",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "key-1",
    }
    added = {"x-amz-date", "x-amz-content-sha256"}
    assert {name: value for name, value in begun.sent[0].items() if name.startswith("x-amz-") and name not in added} == expected
    assert begun.sent[0]["content-length"] == "0"


def test_what_is_not_configured_is_the_buckets_own() -> None:
    begun = Begun((200, BEGUN))
    named = {name for name in begun.sent[0] if name.startswith("x-amz-")}
    assert named == {*CHECKSUMS, "x-amz-meta-run", "x-amz-meta-spotguard-sum", "x-amz-date", "x-amz-content-sha256"}


@pytest.mark.parametrize(
    "body",
    [
        b'<?xml version="1.0" encoding="x-foo"?>' + BEGUN,
        b'<?xml version="1.0" encoding="rot13"?>' + BEGUN,
        b'<?xml version="1.0" encoding="utf-7"?>' + BEGUN,
        BEGUN[:-40],
        BEGUN.replace(b"UploadId", b"Id"),
        BEGUN.replace(b"u-1", b""),
        b"<html>Welcome to our hotel</html>",
        b"\x80\xff",
        b"",
    ],
)
def test_a_success_that_names_no_upload_is_somebody_elses_answer(body: bytes) -> None:
    (outcome,) = Begun((200, body)).outcomes
    assert isinstance(outcome, StoreUnavailable)


def test_a_store_that_knows_no_checksums_is_asked_without_them_and_remembered() -> None:
    begun = Begun(refused("InvalidRequest"), (200, BEGUN), (200, BEGUN), times=2)
    assert begun.outcomes == [Upload("a/k", "u-1")] * 2
    assert begun.checksums == [CHECKSUMS, {}, {}]


def test_a_refusal_for_another_reason_costs_no_checksums() -> None:
    begun = Begun(refused("InvalidStorageClass"), refused("InvalidStorageClass"), (200, BEGUN), times=2)
    assert isinstance(begun.outcomes[0], StoreRejected)
    assert begun.outcomes[1] == Upload("a/k", "u-1")
    assert begun.checksums == [CHECKSUMS, {}, CHECKSUMS]
