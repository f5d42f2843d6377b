"""From what S3 and its kin answer to the port's errors."""

from __future__ import annotations

import pytest
from botocore import exceptions as boto
from botocore.exceptions import ClientError

from spotguard.adapters.s3.errors import Subject, error_of, refusal_of
from spotguard.adapters.s3.failures import from_botocore
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

SUBJECT = Subject("write", "bucket", "run/a b")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", ObjectMissing),
        (404, "NoSuchBucket", BucketMissing),
        (404, "NoSuchUpload", UploadMissing),
        (404, "", ObjectMissing),
        (403, "", StoreDenied),
        (401, "", StoreDenied),
        (403, "AccessDenied", StoreDenied),
        (400, "ExpiredToken", StoreDenied),
        (400, "KMS.DisabledException", StoreDenied),
        (403, "RequestTimeTooSkewed", StoreDenied),
        (403, "InvalidObjectState", StoreRejected),
        (409, "ConditionalRequestConflict", ConcurrentWrite),
        (409, "", ConcurrentWrite),
        (412, "PreconditionFailed", ObjectExists),
        (412, "", ObjectExists),
        (400, "BadDigest", ChecksumRefused),
        (400, "EntityTooSmall", StoreRejected),
        (400, "InvalidPart", StoreRejected),
        (400, "RequestTimeout", StoreUnavailable),
        (400, "IncompleteBody", StoreUnavailable),
        (429, "", StoreUnavailable),
        (500, "", StoreUnavailable),
        (503, "SlowDown", StoreUnavailable),
        (507, "Whatever", StoreUnavailable),
        (501, "NotImplemented", StoreRejected),
        (301, "PermanentRedirect", BucketMissing),
        (307, "TemporaryRedirect", StoreUnavailable),
        (200, "InternalError", StoreUnavailable),
        (200, "", StoreUnavailable),
    ],
)
def test_each_answer_has_its_meaning_on_both_ways(status: int, code: str, kind: type[StoreError]) -> None:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>why</Message></Error>".encode() if code else b""
    raw = error_of(refusal_of(status, {}, body), SUBJECT)
    parsed = {"Error": {"Code": code or str(status), "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}}}
    through_boto = from_botocore(ClientError(parsed, "PutObject"), SUBJECT)  # type: ignore[arg-type]
    assert (type(raw), type(through_boto)) == (kind, kind)
    assert str(raw).startswith("cannot write s3://bucket/run/a b: ")
    assert "\n" not in str(raw)


def test_a_redirect_names_the_bucket_s_region() -> None:
    for refusal in (
        refusal_of(301, {"x-amz-bucket-region": "eu-west-1"}, b""),
        refusal_of(400, {}, b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>expecting 'eu-west-1'</Message></Error>"),
        refusal_of(400, {}, b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>"),
    ):
        error = error_of(refusal, SUBJECT)
        assert isinstance(error, BucketMissing)
        assert "eu-west-1" in str(error)
        assert "destination.region" in error.fix


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (boto.NoCredentialsError(), StoreDenied),
        (boto.PartialCredentialsError(provider="env", cred_var="secret"), StoreDenied),
        (boto.ProfileNotFound(profile="x"), StoreDenied),
        (boto.CredentialRetrievalError(provider="iam", error_msg="x"), StoreDenied),
        (boto.EndpointConnectionError(endpoint_url="http://x"), StoreUnavailable),
        (boto.ConnectTimeoutError(endpoint_url="http://x"), StoreUnavailable),
        (boto.ReadTimeoutError(endpoint_url="http://x"), StoreUnavailable),
        (boto.ConnectionClosedError(endpoint_url="http://x"), StoreUnavailable),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreUnavailable),
        (boto.SSLError(endpoint_url="https://x", error=OSError("certificate")), StoreUnavailable),
        (boto.ParamValidationError(report="bad bucket name"), StoreRejected),
        (boto.NoRegionError(), StoreRejected),
        (OSError("disk"), StoreUnavailable),
    ],
)
def test_each_exception_has_its_meaning(failure: Exception, kind: type[StoreError]) -> None:
    error = from_botocore(failure, SUBJECT)
    assert type(error) is kind
    assert error.fix


def test_nonsense_instead_of_an_error_document_is_still_one_line() -> None:
    error = error_of(refusal_of(502, {}, b"\xff\x00<html>\n<Code>x"), SUBJECT)
    assert isinstance(error, StoreUnavailable)
    assert str(error) == "cannot write s3://bucket/run/a b: HTTP 502"
