"""Signs a request as botocore does, without its serialisation, which would cost more than a small file."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

UNSIGNED = "UNSIGNED-PAYLOAD"
UNSIGNED_WITH_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
DECODED_LENGTH = "x-amz-decoded-content-length"


class _Auth(S3SigV4Auth):
    """The body is not part of the signature: its checksum, which the store verifies, protects it."""

    def __init__(self, credentials: ReadOnlyCredentials, region: str, payload: str) -> None:
        super().__init__(credentials, "s3", region)
        self._payload = payload
        self._scope = (region, "s3", "aws4_request")
        self.canonical = ""
        """What was signed last."""

    def payload(self, request: Any) -> str:
        return self._payload

    def canonical_request(self, request: Any) -> str:
        self.canonical = str(super().canonical_request(request))
        return self.canonical

    def signature(self, string_to_sign: str, request: Any) -> str:
        """As botocore's, but the key, which is the same for a day, is not derived for each request."""
        key = _signing_key(self.credentials.secret_key, request.context["timestamp"][:8], *self._scope)
        return hmac.new(key, string_to_sign.encode(), hashlib.sha256).hexdigest()


@lru_cache(maxsize=4)
def _signing_key(secret_key: str, *scope: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for word in scope:
        key = hmac.digest(key, word.encode(), "sha256")
    return key


class PathSigner:
    """Signs requests that differ in nothing but their path and the size of their body, within a few minutes: botocore signs one, and of the
    others only what follows from these is made anew."""

    def __init__(
        self, method: str, url: str, headers: Mapping[str, str], *, credentials: ReadOnlyCredentials, region: str, payload: str = UNSIGNED
    ) -> None:
        """`url` of the one without a query. Bodies that are sent as `aws-chunked` have a DECODED_LENGTH among the headers, of any value."""
        self._request = AWSRequest(method, url, headers=dict(headers))
        self._auth = _Auth(credentials, region, payload)
        self._auth.add_auth(self._request)
        self._before, _, rest = self._auth.canonical.partition("\n")
        self._after = rest.partition("\n")[2]
        self._length = f"\n{DECODED_LENGTH}:{headers[DECODED_LENGTH]}\n" if DECODED_LENGTH in headers else None
        own = ("Authorization", DECODED_LENGTH)
        self.headers = {name: str(value) for name, value in self._request.headers.items() if name not in own}
        """Of all of them; what `own` returns comes beside."""
        authorization = str(self._request.headers["Authorization"])
        self._authorization = authorization[: authorization.rindex("=") + 1]

    def own(self, path: str, size: int) -> Mapping[str, str]:
        """The headers of the request for this path, percent-encoded, with a body of so many bytes."""
        after = self._after if self._length is None else self._after.replace(self._length, f"\n{DECODED_LENGTH}:{size}\n", 1)
        canonical = f"{self._before}\n{path}\n{after}"
        signature = self._auth.signature(self._auth.string_to_sign(self._request, canonical), self._request)
        length = {} if self._length is None else {DECODED_LENGTH: str(size)}
        return {**length, "Authorization": self._authorization + signature}


def sign(
    method: str, url: str, headers: Mapping[str, str], *, credentials: ReadOnlyCredentials, region: str, payload: str
) -> dict[str, str]:
    """The headers with the signature (Signature Version 4) of an otherwise complete request; `host` must be among them."""
    request = AWSRequest(method, url, headers=dict(headers))
    _Auth(credentials, region, payload).add_auth(request)
    return {name: str(value) for name, value in request.headers.items()}
