"""What a failure of S3 or botocore means: one table from error codes and statuses to the port's errors.

Codes are S3's (API reference, `Error responses`) and those seen of Ceph, LocalStack and moto. A code wins over the status,
since S3 answers some passing faults with 400 (RequestTimeout) and some lasting ones with 403 (InvalidObjectState).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from spotguard.ports.object_store import (
    BucketMissing,
    ChecksumRefused,
    ConcurrentWrite,
    ObjectExists,
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreRejected,
    StoreUnavailable,
    UploadMissing,
)

WRONG_REGION = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "BadRegion"})
STALE_CREDENTIALS = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId"})
TRAILER_REFUSED = frozenset(
    {"XAmzContentSHA256Mismatch", "MissingContentLength", "NotImplemented", "InvalidArgument", "MissingContentMD5", "UnsupportedChecksum"}
)
"""How stores that do not know `aws-chunked` trailers refuse them (Ceph 16: the first over http, the second over https)."""

_DENIED = STALE_CREDENTIALS | {
    "AccessDenied",
    "AllAccessDisabled",
    "AccountProblem",
    "Forbidden",
    "InvalidSecurity",
    "NotSignedUp",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnauthorizedAccess",
}
_UNAVAILABLE = {
    "BandwidthLimitExceeded",
    "IncompleteBody",
    "InternalError",
    "InternalFailure",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "TemporaryRedirect",
    "Throttling",
    "ThrottlingException",
}
_CODES: dict[str, type[StoreError]] = {
    **dict.fromkeys(_DENIED, StoreDenied),
    **dict.fromkeys(_UNAVAILABLE, StoreUnavailable),
    **dict.fromkeys(("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"), ChecksumRefused),
    "ConditionalRequestConflict": ConcurrentWrite,
    "InvalidObjectState": StoreRejected,
    "NoSuchBucket": BucketMissing,
    "NoSuchKey": ObjectMissing,
    "NoSuchUpload": UploadMissing,
    "OperationAborted": ConcurrentWrite,
    "PreconditionFailed": ObjectExists,
}
_STATUSES: dict[int, type[StoreError]] = {
    401: StoreDenied,
    403: StoreDenied,
    404: ObjectMissing,
    408: StoreUnavailable,
    409: ConcurrentWrite,
    412: ObjectExists,
    429: StoreUnavailable,
    501: StoreRejected,
}
_CLOCK_FIX = "set the clock right: `chronyc makestep`, or start chrony or systemd-timesyncd"
_FIXES: dict[str, str] = {
    "InvalidAccessKeyId": "check the access key: `aws sts get-caller-identity` must succeed",
    "InvalidObjectState": "the object is archived: restore it from Glacier first",
    "SignatureDoesNotMatch": "check the secret key, and that no proxy changes requests",
    "SlowDown": "the store throttles; it is tried again",
}
_EXPECTED_REGION = re.compile(r"expecting '([a-z0-9-]+)'")
_ELEMENT = re.compile(r"<(Code|Message|Region)>([^<]*)</\1>")

STRANGER_FIX = "check destination.endpoint_url, and what answers instead of S3 (a proxy, a captive portal)"


class Subject(NamedTuple):
    """What a request was about, for people."""

    verb: str
    """`write`, `list`, …"""
    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"cannot {self.verb} s3://{self.bucket}/{self.key}" if self.key else f"cannot {self.verb} s3://{self.bucket}"


class Refusal(NamedTuple):
    """What the store answered."""

    status: int | None
    code: str
    message: str
    region: str | None
    """The bucket's own, where the answer names it."""


def refusal_of(status: int | None, headers: Mapping[str, str], body: bytes) -> Refusal:
    """Read an error answer: `headers` with lower-case names, `body` XML or nothing."""
    found = {name: value.strip() for name, value in _ELEMENT.findall(body[:65536].decode(errors="replace"))}
    region = headers.get("x-amz-bucket-region") or found.get("Region")
    return Refusal(status, found.get("Code", ""), found.get("Message", ""), region)


def error_of(refusal: Refusal, subject: Subject) -> StoreError:
    """The port error for what the store answered."""
    status, code, message, region = refusal
    named = f"{code or f'HTTP {status}'}{f': {message}' if message else ''}"
    line = " ".join(f"{subject}: {named}".split())[:500]
    expected = _EXPECTED_REGION.search(message)
    elsewhere = expected[1] if expected else region
    if code in WRONG_REGION or status == 301:
        return _elsewhere(elsewhere, subject, line)
    if code == "RequestTimeTooSkewed":
        return StoreDenied(f"{line}: this machine's clock is off", _CLOCK_FIX)
    if code.startswith("KMS."):
        return StoreDenied(line, "allow kms:GenerateDataKey and kms:Decrypt on the bucket's KMS key, and check that it is enabled")
    kind = _CODES.get(code) or _by_status(status)
    return kind(line, _fix(kind, code, subject))


def _by_status(status: int | None) -> type[StoreError]:
    if status is None or status < 400:
        return StoreUnavailable  # a success that was none, or half an answer
    return _STATUSES.get(status) or (StoreUnavailable if status >= 500 else StoreRejected)


def _elsewhere(region: str | None, subject: Subject, line: str) -> StoreError:
    if region:
        text = f"{subject}: the bucket is in the region {region}"
        return BucketMissing(text, f"set destination.region to {region}, or use a bucket in this region")
    return BucketMissing(f"{line}: the bucket is in another region", "set destination.region to the bucket's region")


def _fix(kind: type[StoreError], code: str, subject: Subject) -> str:
    if code in _FIXES:
        return _FIXES[code]
    if code in STALE_CREDENTIALS:
        return "renew the credentials; they are read again with the next request"
    if kind is StoreDenied:
        return f"allow what `spotguard bucket policy` prints on the bucket {subject.bucket}; `spotguard doctor` names what is missing"
    if kind is BucketMissing:
        return f"create the bucket {subject.bucket}, or correct destination.url"
    if kind is StoreUnavailable:
        return "nothing if it passes: it is tried again"
    return ""
