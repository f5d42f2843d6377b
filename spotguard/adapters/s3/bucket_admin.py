"""The bucket's settings over boto3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from spotguard.adapters.s3.access import S3Access
from spotguard.core.bucket_settings import Document
from spotguard.ports.bucket_admin import BucketTaken, SettingUnsupported
from spotguard.ports.object_store import BucketMissing, ConcurrentWrite, ObjectMissing, StoreDenied, StoreError, StoreRejected

_UNKNOWN = frozenset({"NotImplemented", "MethodNotAllowed", "UnsupportedOperation"})
_TAKEN_FIX = "choose another name: bucket names are shared by all accounts; or, if it is yours, allow s3:ListBucket on it"


class _Calls(NamedTuple):
    """boto3's names for one setting; `body` is the parameter that holds the document on the way out, `inside` on the way back."""

    get: str
    put: str
    body: str
    inside: str | None


_CALLS: Mapping[str, _Calls] = {
    "public-access-block": _Calls(
        "get_public_access_block", "put_public_access_block", "PublicAccessBlockConfiguration", "PublicAccessBlockConfiguration"
    ),
    "tls-only": _Calls("get_bucket_policy", "put_bucket_policy", "Policy", "Policy"),
    "encryption": _Calls(
        "get_bucket_encryption", "put_bucket_encryption", "ServerSideEncryptionConfiguration", "ServerSideEncryptionConfiguration"
    ),
    "versioning": _Calls("get_bucket_versioning", "put_bucket_versioning", "VersioningConfiguration", None),
    "lifecycle": _Calls("get_bucket_lifecycle_configuration", "put_bucket_lifecycle_configuration", "LifecycleConfiguration", None),
}


class S3BucketAdmin:
    """One attempt per verb."""

    def __init__(self, access: S3Access) -> None:
        self._access = access
        self._secure = True

    @property
    def secure(self) -> bool:
        return self._secure

    async def exists(self) -> bool:
        """By a listing and no HEAD: its answer has a body, which tells wrong keys, a bucket of somebody else and what is not S3 apart."""
        subject = self._access.subject("use")
        try:
            await self._access.call("list_objects_v2", subject, {"MaxKeys": 1}, proof="IsTruncated")
        except ObjectMissing:  # of the HEAD by which the region is looked for
            return False
        except BucketMissing as error:
            if _code(error) == "NoSuchBucket":
                return False
            raise
        except StoreDenied as error:
            if _code(error) in ("AccessDenied", "AllAccessDisabled", "Forbidden"):
                raise _taken(self._access.settings.bucket) from error
            raise
        self._secure = (await self._access.route(subject)).secure
        return True

    async def create(self) -> None:
        subject = self._access.subject("create")
        region = self._access.known_region()
        if region is None:
            raise StoreRejected(f"{subject}: no region is set", "give the one that the instances run in: --set destination.region=REGION")
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            await self._access.call("create_bucket", subject, where, proof=None)
        except ConcurrentWrite as error:
            if _code(error) == "BucketAlreadyOwnedByYou":
                return
            if _code(error) == "BucketAlreadyExists":
                raise _taken(self._access.settings.bucket) from error
            raise
        self._secure = (await self._access.route(subject)).secure

    async def read(self, setting: str) -> Document | None:
        calls = _CALLS[setting]
        try:
            answer = await self._access.call(calls.get, self._access.subject(f"read the {setting} of"), {}, proof=None)
        except ObjectMissing:  # NoSuchLifecycleConfiguration, NoSuchBucketPolicy, …: never made
            return None
        except StoreError as error:
            raise _in_words(error, setting) from error
        if calls.inside is not None and not answer.get(calls.inside):  # Ceph 16 answers with a listing
            raise SettingUnsupported(f"this store has no {setting}: its answer says nothing of it")
        found = answer if calls.inside is None else answer[calls.inside]
        if calls.body == "Policy":
            return _policy(found)
        return {name: value for name, value in (found or {}).items() if name != "ResponseMetadata"}

    async def write(self, setting: str, document: Document) -> None:
        calls = _CALLS[setting]
        body: Any = json.dumps(document) if calls.body == "Policy" else document
        if setting == "lifecycle":  # the answer's other fields are not the request's
            body = {"Rules": document["Rules"]}
        try:
            await self._access.call(calls.put, self._access.subject(f"write the {setting} of"), {calls.body: body}, proof=None)
        except StoreError as error:
            raise _in_words(error, setting) from error


def _policy(text: Any) -> Document | None:
    try:
        document = json.loads(text or "null")
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _taken(bucket: str) -> BucketTaken:
    return BucketTaken(f"the bucket name {bucket} is taken: it belongs to another account, or you may not look at it", _TAKEN_FIX)


def _in_words(error: StoreError, setting: str) -> StoreError:
    unknown = _code(error) in _UNKNOWN or _status(error) in (405, 501)
    return SettingUnsupported(f"this store has no {setting}: {error}") if unknown else error


def _response(error: StoreError) -> Mapping[str, Any]:
    cause = error.__cause__
    return cause.response if isinstance(cause, ClientError) else {}


def _code(error: StoreError) -> str:
    return str(_response(error).get("Error", {}).get("Code") or "")


def _status(error: StoreError) -> int | None:
    status = _response(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) else None
