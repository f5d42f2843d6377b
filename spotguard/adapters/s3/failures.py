"""Exceptions of botocore, and of what it uses, as port errors."""

from __future__ import annotations

import re

from botocore import exceptions as boto

from spotguard.adapters.s3.errors import Refusal, Subject, error_of
from spotguard.adapters.s3.wire_failures import UNREACHABLE_FIX
from spotguard.ports.object_store import StoreDenied, StoreError, StoreRejected, StoreUnavailable

CREDENTIALS_FIX = "give this machine an instance role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws"
_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.MetadataRetrievalError,
    boto.ProfileNotFound,
    boto.NoAuthTokenError,
    boto.TokenRetrievalError,
    boto.SSOError,
    boto.UnauthorizedSSOTokenError,
    boto.InfiniteLoopConfigError,
)
_NETWORK = (boto.HTTPClientError, boto.ConnectionError, boto.EndpointConnectionError, boto.IncompleteReadError, boto.ResponseStreamingError)
_QUERY = re.compile(r"\?[^\s\"]*")
"""Of the address that botocore names: the subject says already what was asked for."""


def from_botocore(error: Exception, subject: Subject) -> StoreError:
    if isinstance(error, boto.ClientError):
        return _from_client_error(error, subject)
    reason = _QUERY.sub("", " ".join(str(error).split()))[:400].removesuffix(".")
    if isinstance(error, _NO_CREDENTIALS):
        return StoreDenied(f"{subject}: no usable AWS credentials: {reason}", CREDENTIALS_FIX)
    if isinstance(error, _NETWORK):
        return StoreUnavailable(f"{subject}: no answer: {reason}", UNREACHABLE_FIX)
    if isinstance(error, boto.ParamValidationError | boto.NoRegionError | boto.InvalidRegionError):
        return StoreRejected(f"{subject}: {reason}", "correct destination.url and destination.region")
    return StoreUnavailable(f"{subject}: {type(error).__name__}: {reason}", UNREACHABLE_FIX)


def _from_client_error(error: boto.ClientError, subject: Subject) -> StoreError:
    answer = error.response.get("ResponseMetadata", {})
    status = answer.get("HTTPStatusCode")
    headers = {name.lower(): str(value) for name, value in answer.get("HTTPHeaders", {}).items()}
    code = str(error.response.get("Error", {}).get("Code") or "")
    named = error.response.get("Error", {}).get("Region")
    region = headers.get("x-amz-bucket-region") or (str(named) if named else None)
    if code.isdigit():  # a HEAD has no body: botocore gives the status as the code
        code = ""
    return error_of(Refusal(status, code, str(error.response.get("Error", {}).get("Message") or ""), region), subject)
