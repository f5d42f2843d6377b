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

    def __init__(self, method: str, headers: Mapping[str, str], *, credentials: SigningKeys, region: str, payload: str) -> None:
        """`headers`, with `host` among them. Where `payload` says that bodies have trailers, their length is signed with each request."""
        self._stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._scope = f"{self._stamp[:8]}/{region}/s3/aws4_request"
        self._key = _signing_key(credentials.secret_key, self._scope)
        token = {"X-Amz-Security-Token": credentials.token} if credentials.token else {}
        self.headers = {**headers, "X-Amz-Date": self._stamp, **token, "X-Amz-Content-SHA256": payload}
        """Of all of them; what `own` returns comes beside."""
        self._has_length = payload == UNSIGNED_WITH_TRAILER
        signed = {name.lower(): " ".join(value.split()) for name, value in self.headers.items() if name.lower() not in _NEVER_SIGNED}
        names = ";".join(sorted({*signed, DECODED_LENGTH} if self._has_length else signed))
        self._before = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed) if name < DECODED_LENGTH)
        after = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed) if name > DECODED_LENGTH)
        self._after = f"{after}\n{names}\n{payload}"
        self._method = method
        self._authorization = f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{self._scope}, SignedHeaders={names}, Signature="

    def own(self, path: str, size: int) -> Mapping[str, str]:
        """The headers of the request for this path, percent-encoded and perhaps with a query, with a body of so many bytes."""
        length = f"{DECODED_LENGTH}:{size}\n" if self._has_length else ""
        where, _, query = path.partition("?")
        canonical = f"{self._method}\n{where}\n{_canonical(query)}\n{self._before}{length}{self._after}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{self._stamp}\n{self._scope}\n{digest}"
        authorization = {"Authorization": self._authorization + hmac.digest(self._key, to_sign.encode(), "sha256").hex()}
        return {DECODED_LENGTH: str(size), **authorization} if self._has_length else authorization


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
