"""The least IAM policy for each thing that is done with a run: what the code asks S3 for, and no more.

Action names are those of the service authorization reference for S3; HeadObject needs `s3:GetObject`, and `s3:ListBucket` on the key as
prefix, without which S3 says 403 for what is merely missing. Every multipart request but the two listings and the abort is a `PutObject`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from spotguard.core.bucket_settings import SETTINGS
from spotguard.core.run_keys import RunKeys

_OBJECTS_OF_DAEMON = ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject")


class Purpose(StrEnum):
    DAEMON = "daemon"
    """`daemon`, `run`, `sync`, `adopt` and `doctor`; a restore as well."""
    RESTORE = "restore"
    """`restore`, `resume`, `list` and `verify`."""
    SETUP = "setup"
    """`bucket create` and `bucket check`."""


def policy_for(purpose: Purpose, keys: RunKeys, *, partition: str = "aws", kms_key_id: str | None = None) -> dict[str, Any]:
    """An IAM policy document. Nothing outside of the run's prefix is allowed, but asking whether another run lies around it."""
    bucket = f"arn:{partition}:s3:::{keys.bucket}"
    if purpose is Purpose.SETUP:
        return _document([_allow("SpotguardSetup", setup_actions(), bucket)])
    statements = [_allow("SpotguardList", ["s3:ListBucket"], bucket, _prefixes(purpose, keys))]
    if purpose is Purpose.DAEMON:
        statements.append(_allow("SpotguardUnfinishedUploads", ["s3:ListBucketMultipartUploads"], bucket))
    objects = _OBJECTS_OF_DAEMON if purpose is Purpose.DAEMON else ("s3:GetObject",)
    statements.append(_allow("SpotguardObjects", list(objects), f"{bucket}/{keys.root}*"))
    if kms_key_id:
        actions = ["kms:Decrypt", "kms:GenerateDataKey"] if purpose is Purpose.DAEMON else ["kms:Decrypt"]
        statements.append(_key_statement(actions, kms_key_id, partition))
    return _document(statements)


def setup_actions() -> list[str]:
    settings = sorted({setting.permission for setting in SETTINGS})
    return ["s3:CreateBucket", "s3:ListBucket", *(f"s3:Get{name}" for name in settings), *(f"s3:Put{name}" for name in settings)]


def partition_of(region: str | None) -> str:
    """`aws`, `aws-cn` or `aws-us-gov`."""
    for prefix, partition in (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov")):
        if (region or "").startswith(prefix):
            return partition
    return "aws"


def _prefixes(purpose: Purpose, keys: RunKeys) -> Mapping[str, Any]:
    """The run, and for who writes it the records of runs that may lie around it."""
    wanted = [f"{keys.root}*"]
    if purpose is Purpose.DAEMON and keys.prefix:
        parts = keys.prefix.split("/")
        around = [RunKeys(keys.bucket, "/".join(parts[:count])) for count in range(len(parts))]
        wanted += [place for run in around for place in (run.claims, run.manifests)]
    return {"Condition": {"StringLike": {"s3:prefix": wanted}}} if keys.prefix else {}


def _key_statement(actions: list[str], kms_key_id: str, partition: str) -> dict[str, Any]:
    if kms_key_id.startswith("arn:") and ":alias/" not in kms_key_id:
        return _allow("SpotguardKey", actions, kms_key_id)
    if "alias/" in kms_key_id:  # a policy cannot name a key by its alias, only ask for it
        alias = kms_key_id[kms_key_id.index("alias/") :]
        asked = {"Condition": {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}}
        return _allow("SpotguardKey", actions, f"arn:{partition}:kms:*:*:key/*", asked)
    return _allow("SpotguardKey", actions, f"arn:{partition}:kms:*:*:key/{kms_key_id}")


def _allow(sid: str, actions: list[str], resource: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource, **(more or {})}


def _document(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}
