"""Signs requests: Signature Version 4, as S3 wants it (AWS General Reference; `Authenticating Requests` in the S3 API reference).

Our own, because botocore takes longer to load than to sign some thousand requests, and signs each from its beginning. Tests compare
signatures with botocore's.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from spotguard.adapters.s3.environment import SigningKeys

UNSIGNED = "UNSIGNED-PAYLOAD"
UNSIGNED_WITH_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
DECODED_LENGTH = "x-amz-decoded-content-length"

_NEVER_SIGNED = frozenset(
    {
        "authorization",
        "baggage",
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-amzn-trace-id",
    }
)
"""What may change on the way."""


class PathSigner:
    """Signs requests that differ in nothing but their path, its query and the size of their body, within a few minutes: what they have in
    common is put together once.

    The body is not part of the signature: its checksum, which the store verifies, protects it."""

    def __init__(self, method: str, headers: Mapping[str, str], *, credentials: SigningKeys, region: str, payload: str = UNSIGNED) -> None:
        """`headers`, with `host` among them; bodies that are sent as `aws-chunked` have a DECODED_LENGTH among them, of any value."""
        self._stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._scope = f"{self._stamp[:8]}/{region}/s3/aws4_request"
        self._key = _signing_key(credentials.secret_key, self._scope)
        token = {"X-Amz-Security-Token": credentials.token} if credentials.token else {}
        all_headers = {**headers, "X-Amz-Date": self._stamp, **token, "X-Amz-Content-SHA256": payload}
        self._has_length = DECODED_LENGTH in headers
        self.headers = {name: value for name, value in all_headers.items() if name != DECODED_LENGTH}
        """Of all of them; what `own` returns comes beside."""
        signed = {name.lower(): " ".join(value.split()) for name, value in all_headers.items() if name.lower() not in _NEVER_SIGNED}
        lines = {name: f"{name}:{signed[name]}\n" for name in sorted(signed)}
        names = ";".join(lines)
        before = "".join(line for name, line in lines.items() if name < DECODED_LENGTH)
        after = "".join(line for name, line in lines.items() if name > DECODED_LENGTH)
        self._method = method
        self._head, self._tail = before, f"{after}\n{names}\n{payload}"
        self._authorization = f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{self._scope}, SignedHeaders={names}, Signature="

    def own(self, path: str, size: int) -> Mapping[str, str]:
        """The headers of the request for this path, percent-encoded and perhaps with a query, with a body of so many bytes."""
        length = f"{DECODED_LENGTH}:{size}\n" if self._has_length else ""
        where, _, query = path.partition("?")
        canonical = f"{self._method}\n{where}\n{_canonical(query)}\n{self._head}{length}{self._tail}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{self._stamp}\n{self._scope}\n{digest}"
        authorization = {"Authorization": self._authorization + hmac.digest(self._key, to_sign.encode(), "sha256").hex()}
        return {DECODED_LENGTH: str(size), **authorization} if self._has_length else authorization


def sign(method: str, url: str, headers: Mapping[str, str], *, credentials: SigningKeys, region: str, payload: str) -> dict[str, str]:
    """The headers with the signature of an otherwise complete request; `host` must be among them."""
    signer = PathSigner(method, headers, credentials=credentials, region=region, payload=payload)
    parts = urlsplit(url)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return {**signer.headers, **signer.own(path, int(headers.get(DECODED_LENGTH, 0)))}


def _canonical(query: str) -> str:
    """Percent-encoded already; a name without a value gets an empty one."""
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&")) if query else []
    return "&".join(f"{name}={value}" for name, value in pairs)


@lru_cache(maxsize=4)
def _signing_key(secret_key: str, scope: str) -> bytes:
    """Of a day."""
    key = f"AWS4{secret_key}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key
