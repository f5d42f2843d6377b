"""Listings and small objects by our own requests: a fifth of what boto3 takes, and whoever only reads need not load it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

from spotguard.adapters.s3.address import WireAddress
from spotguard.adapters.s3.clock import StoreClock
from spotguard.adapters.s3.credentials import AwsIdentity
from spotguard.adapters.s3.errors import Subject, error_of, refusal_of
from spotguard.adapters.s3.heads import RequestHeads
from spotguard.adapters.s3.route import Route
from spotguard.adapters.s3.wire_failures import from_wire
from spotguard.adapters.wire.connections import Connections
from spotguard.adapters.wire.exchange import Answer, Exchange, WireRequest
from spotguard.adapters.wire.proxy import proxy_for
from spotguard.ports.object_store import ObjectMissing, StoreUnavailable

_NAMES = {
    "Prefix": "prefix",
    "MaxKeys": "max-keys",
    "StartAfter": "start-after",
    "ContinuationToken": "continuation-token",
}
"""boto3's parameters of a listing, as they stand in the query."""
_OUTAGES = (ConnectionError, TimeoutError, socket.gaierror)
"""What asking boto3 too would only make longer."""
_LISTING_BYTES = 16 << 20
_ROOM_BYTES = 64 << 10


class QuickReads:
    """Answers as boto3's client would, for three operations and where nothing is unusual. Used by several threads."""

    def __init__(self, bucket: str, identity: AwsIdentity, clock: StoreClock, stall_seconds: float) -> None:
        self._bucket, self._identity, self._clock = bucket, identity, clock
        self._connections = Connections(stall_seconds)
        self._address: WireAddress | None = None
        self._reads: Mapping[str, Callable[[WireAddress, Mapping[str, Any], Subject, int], Any]] = {
            "head_bucket": self._head_bucket,
            "list_objects_v2": self._list,
            "get_object": self._get,
        }

    def answer(self, route: Route, operation: str, parameters: Mapping[str, Any], subject: Subject, max_body: int) -> Any:
        """boto3's answer, with a body as bytes; None for whatever boto3 had better be asked: it says what is wrong.

        Raises ObjectMissing, StoreUnavailable for an outage, and CredentialsFault where there are no credentials."""
        read = self._reads.get(operation)
        if read is None:
            return None
        if self._address is None or self._address.route is not route:
            self._address = WireAddress(route, self._bucket, proxy_for(route.endpoint))
        return read(self._address, parameters, subject, max_body)

    def close(self) -> None:
        self._connections.close()

    def _head_bucket(self, address: WireAddress, parameters: Mapping[str, Any], subject: Subject, max_body: int) -> Any:
        return {} if self._asked("HEAD", address, address.path(""), subject).status == 200 else None

    def _get(self, address: WireAddress, parameters: Mapping[str, Any], subject: Subject, max_body: int) -> Any:
        if parameters.keys() != {"Bucket", "Key"}:
            return None
        answer = self._asked("GET", address, address.path(parameters["Key"]), subject, max_body)
        if answer.status == 404:
            error = error_of(refusal_of(answer.status, answer.headers, answer.body), subject)
            if isinstance(error, ObjectMissing):
                raise error
        if answer.status != 200 or answer.error is not None or "etag" not in answer.headers:
            return None
        return {"Body": answer.body, "ETag": answer.headers["etag"]}

    def _list(self, address: WireAddress, parameters: Mapping[str, Any], subject: Subject, max_body: int) -> Any:
        wanted = {name: value for name, value in parameters.items() if name != "Bucket"}
        if not wanted.keys() <= _NAMES.keys():
            return None
        words = {"list-type": "2", "encoding-type": "url", **{_NAMES[name]: str(value) for name, value in wanted.items()}}
        query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(words.items()))
        answer = self._asked("GET", address, address.path("", query), subject, _LISTING_BYTES)
        if answer.status != 200 or answer.error is not None:
            return None
        with contextlib.suppress(ElementTree.ParseError, AttributeError, TypeError, ValueError):  # not S3's: boto3 finds the words
            return _listing(answer.body)
        return None

    def _asked(self, method: str, address: WireAddress, path: str, subject: Subject, max_body: int = 0) -> Answer:
        def prepare() -> WireRequest:
            heads = RequestHeads(address, method, {}, self._identity.frozen())
            return WireRequest(method, heads.of(path, 0, {}), sink=sink)

        sink = _Memory(max_body)
        answer = Exchange(self._connections, address.place, prepare).run()
        if isinstance(answer.error, _OUTAGES):
            raise from_wire(answer.error, subject, address.url("")) from answer.error
        if answer.status is not None:
            self._clock.observe(answer.headers)
        if answer.is_refusal:
            error = error_of(refusal_of(answer.status, answer.headers, answer.body), subject)
            if isinstance(error, StoreUnavailable):  # a store that throttles is not asked again before its time
                raise error
        if sink.content:
            answer.body = bytes(sink.content)
        return answer


class _Memory:
    """Keeps an answer's body, up to so many bytes. Raises ValueError for more."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.content = bytearray()
        self.failure: Exception | None = None

    def receive(self, read_into: Callable[[memoryview], int]) -> None:
        self.content.clear()
        room = memoryview(bytearray(_ROOM_BYTES))
        while got := read_into(room):
            self.content += room[:got]
            if len(self.content) > self._most_bytes:
                self.failure = ValueError("the answer is larger than allowed")
                raise self.failure


def _listing(body: bytes) -> dict[str, Any]:
    """As boto3 gives it. Raises AttributeError and its like for what is no listing."""
    root = ElementTree.fromstring(body)
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""

    def text(parent: ElementTree.Element, name: str) -> str:
        found = parent.find(space + name)
        if found is None:
            raise ValueError(f"the listing has no {name}")
        return found.text or ""

    if root.tag != f"{space}ListBucketResult":
        raise ValueError("this is no listing")
    encoded = root.findtext(f"{space}EncodingType") == "url"
    answer: dict[str, Any] = {"IsTruncated": text(root, "IsTruncated") == "true", "Contents": []}
    if token := root.findtext(f"{space}NextContinuationToken"):
        answer["NextContinuationToken"] = token
    for entry in root.iterfind(f"{space}Contents"):
        key = text(entry, "Key")
        moment = datetime.fromisoformat(text(entry, "LastModified"))
        answer["Contents"].append(
            {
                "Key": unquote_plus(key) if encoded else key,
                "Size": int(text(entry, "Size")),
                "ETag": text(entry, "ETag"),
                "LastModified": moment if moment.tzinfo else moment.replace(tzinfo=UTC),
            }
        )
    return answer
