"""Signs a request as botocore does, without its serialisation, which would cost more than a small file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

UNSIGNED = "UNSIGNED-PAYLOAD"
UNSIGNED_WITH_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


class _Auth(S3SigV4Auth):
    """The body is not part of the signature: its checksum, which the store verifies, protects it."""

    def __init__(self, credentials: ReadOnlyCredentials, region: str, payload: str) -> None:
        super().__init__(credentials, "s3", region)
        self._payload = payload

    def payload(self, request: Any) -> str:
        return self._payload


def sign(
    method: str, url: str, headers: Mapping[str, str], *, credentials: ReadOnlyCredentials, region: str, payload: str
) -> dict[str, str]:
    """The headers with the signature (Signature Version 4) of an otherwise complete request; `host` must be among them."""
    request = AWSRequest(method, url, headers=dict(headers))
    _Auth(credentials, region, payload).add_auth(request)
    return {name: str(value) for name, value in request.headers.items()}
