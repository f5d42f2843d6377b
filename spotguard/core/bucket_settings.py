"""What a bucket for checkpoints should be like, setting by setting: what is there, and what must be written so that it holds.

Documents are those of the S3 API (`PutBucketLifecycleConfiguration` and its kin) as boto3 spells them. What somebody else put into a
setting is kept: rules, statements and keys are added, never taken away.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]

ABORT_DAYS = 7
_ABORT_RULE = "spotguard-abort-uploads"
_NONCURRENT_RULE = "spotguard-noncurrent-versions"
_TLS_STATEMENT = "SpotguardTlsOnly"
_PUBLIC_ACCESS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


@dataclass(frozen=True, slots=True)
class BucketWish:
    """`prefix`: the run's, without slashes at its ends. `scope`: the prefix that rules of ours are made for, empty for all."""

    bucket: str
    prefix: str
    scope: str
    sse: str | None = None
    kms_key_id: str | None = None
    noncurrent_days: int | None = None
    """None: any rule will do, and `NONCURRENT_DAYS` where there is none."""
    partition: str = "aws"


NONCURRENT_DAYS = 7


@dataclass(frozen=True, slots=True)
class BucketSetting:
    """One setting. `amend` gives the document to write so that the wish holds, or None where it holds already."""

    name: str
    why: str
    permission: str
    """The IAM action behind `s3:Get` and `s3:Put`."""
    step: str
    """What writing it does, for people."""
    amend: Callable[[Document | None, BucketWish], Document | None]


def _public_access(found: Document | None, wish: BucketWish) -> Document | None:
    return None if found and all(found.get(name) for name in _PUBLIC_ACCESS) else dict.fromkeys(_PUBLIC_ACCESS, True)


def _tls_only(found: Document | None, wish: BucketWish) -> Document | None:
    statements = _statements(found)
    if any(_denies_plain_http(statement) for statement in statements):
        return None
    arn = f"arn:{wish.partition}:s3:::{wish.bucket}"
    ours = {
        "Sid": _TLS_STATEMENT,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    others = [statement for statement in statements if statement.get("Sid") != _TLS_STATEMENT]
    return {"Version": "2012-10-17", **(found or {}), "Statement": [*others, ours]}


def _statements(policy: Document | None) -> list[Document]:
    found = (policy or {}).get("Statement", [])
    return [found] if isinstance(found, Mapping) else list(found)


def _denies_plain_http(statement: Document) -> bool:
    secure = statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
    everybody = statement.get("Principal") in ("*", {"AWS": "*"}, {"AWS": ["*"]})
    everything = "s3:*" in _listed(statement.get("Action")) or "*" in _listed(statement.get("Action"))
    return statement.get("Effect") == "Deny" and everybody and everything and str(_listed(secure)[0]).lower() == "false"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _encryption(found: Document | None, wish: BucketWish) -> Document | None:
    rule: Document = next(iter((found or {}).get("Rules", [])), {})
    default = rule.get("ApplyServerSideEncryptionByDefault", {})
    algorithm, key = default.get("SSEAlgorithm"), str(default.get("KMSMasterKeyID") or "")
    by_kms = wish.sse == "aws:kms" or wish.kms_key_id is not None
    if by_kms and (algorithm != "aws:kms" or (wish.kms_key_id and not key.endswith(wish.kms_key_id.rpartition("/")[2]))):
        algorithm, key = "aws:kms", wish.kms_key_id or ""
    elif algorithm is None:
        algorithm = "AES256"
    bucket_key = bool(rule.get("BucketKeyEnabled")) or algorithm == "aws:kms"
    wanted = {"SSEAlgorithm": algorithm} | ({"KMSMasterKeyID": key} if key and algorithm != "AES256" else {})
    if default == wanted and bool(rule.get("BucketKeyEnabled")) == bucket_key:
        return None
    kept = {name: value for name, value in rule.items() if name != "ApplyServerSideEncryptionByDefault"}
    return {"Rules": [{**kept, "ApplyServerSideEncryptionByDefault": wanted, "BucketKeyEnabled": bucket_key}]}


def _versioning(found: Document | None, wish: BucketWish) -> Document | None:
    return None if (found or {}).get("Status") == "Enabled" else {"Status": "Enabled"}


def _lifecycle(found: Document | None, wish: BucketWish) -> Document | None:
    rules = list((found or {}).get("Rules", []))
    amended = list(rules)
    if not any(_days(rule, "AbortIncompleteMultipartUpload", "DaysAfterInitiation") <= ABORT_DAYS for rule in _covering(rules, wish)):
        _put(amended, _rule(_ABORT_RULE, wish, AbortIncompleteMultipartUpload={"DaysAfterInitiation": ABORT_DAYS}))
    days = wish.noncurrent_days or NONCURRENT_DAYS
    known = [_days(rule, "NoncurrentVersionExpiration", "NoncurrentDays") for rule in _covering(rules, wish)]
    if (days not in known) if wish.noncurrent_days else min(known, default=_NEVER) == _NEVER:
        rule = _rule(_NONCURRENT_RULE, wish, NoncurrentVersionExpiration={"NoncurrentDays": days})
        _put(amended, rule | {"Expiration": {"ExpiredObjectDeleteMarker": True}})
    return {"Rules": amended} if amended != rules else None


_NEVER = 10**9


def _days(rule: Document, action: str, name: str) -> int:
    return int(rule.get(action, {}).get(name) or _NEVER)


def _rule(name: str, wish: BucketWish, **action: Any) -> dict[str, Any]:
    return {"ID": name if not wish.scope else f"{name}:{wish.scope}"[:255], "Status": "Enabled", "Filter": {"Prefix": wish.scope}, **action}


def _put(rules: list[Document], rule: Document) -> None:
    """In the place of the rule of that name, else at the end."""
    at = next((at for at, known in enumerate(rules) if known.get("ID") == rule["ID"]), None)
    if at is None:
        rules.append(rule)
    else:
        rules[at] = rule


def rule_prefix(rule: Document) -> str:
    """What a rule is bound to by prefix, in whichever of the three places the API allows."""
    chosen = rule.get("Filter", {})
    return str(chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or rule.get("Prefix") or "")


def is_narrowed(rule: Document) -> bool:
    """Whether a rule is for some objects only, by tag or size."""
    chosen = rule.get("Filter", {})
    return bool(set(chosen) - {"Prefix", "And"} or set(chosen.get("And", {})) - {"Prefix"})


def _covering(rules: Sequence[Document], wish: BucketWish) -> list[Document]:
    root = f"{wish.prefix}/" if wish.prefix else ""
    return [r for r in rules if r.get("Status") == "Enabled" and root.startswith(rule_prefix(r)) and not is_narrowed(r)]


SETTINGS: tuple[BucketSetting, ...] = (
    BucketSetting(
        "public-access-block",
        "checkpoints are nobody else's business, whatever an ACL or a policy may say one day",
        "BucketPublicAccessBlock",
        "block all public access",
        _public_access,
    ),
    BucketSetting(
        "tls-only",
        "a request over plain http shows checkpoints and signatures to the network",
        "BucketPolicy",
        "deny every request that does not come over TLS",
        _tls_only,
    ),
    BucketSetting(
        "encryption",
        "without a bucket key each object costs a request to KMS; without a default nothing says how objects are encrypted",
        "EncryptionConfiguration",
        "set the default encryption",
        _encryption,
    ),
    BucketSetting(
        "versioning",
        "a checkpoint that was deleted or overwritten by mistake can be brought back",
        "BucketVersioning",
        "switch versioning on",
        _versioning,
    ),
    BucketSetting(
        "lifecycle",
        "parts of uploads that were cut off, and deleted versions, are paid for until a rule takes them away",
        "LifecycleConfiguration",
        f"abort multipart uploads after {ABORT_DAYS} days, expire noncurrent versions; nothing that expires current objects",
        _lifecycle,
    ),
)
"""In the order in which they are written: a new bucket is closed first."""


def dangers(lifecycle: Document | None, wish: BucketWish) -> list[tuple[str, str, Document]]:
    """Rules that take committed checkpoints away: (rule, what it does, the configuration without it)."""
    root = f"{wish.prefix}/" if wish.prefix else ""
    rules = list((lifecycle or {}).get("Rules", []))
    found: list[tuple[str, str, Document]] = []
    for rule in rules:
        prefix = rule_prefix(rule)
        if rule.get("Status") != "Enabled" or not (root.startswith(prefix) or prefix.startswith(root)):
            continue
        if harm := _harm(rule):
            some = "some objects" if is_narrowed(rule) else "objects"
            remaining = [other for other in rules if other is not rule]
            found.append((str(rule.get("ID") or prefix or "(without a name)"), f"{harm[0]} {some} {harm[1]}", {"Rules": remaining}))
    return found


def _harm(rule: Document) -> tuple[str, str] | None:
    expiration = rule.get("Expiration", {})
    if expiration.get("Days") or expiration.get("Date"):
        when = f"after {expiration['Days']} days" if expiration.get("Days") else f"on {expiration['Date']}"
        return "deletes", f"under the run {when}: checkpoints that manifests name would be gone"
    for move in rule.get("Transitions", []):
        if move.get("StorageClass") in ("GLACIER", "DEEP_ARCHIVE"):
            return "archives", f"under the run to {move['StorageClass']}: a restore could not read them"
    return None


def as_json(document: Document) -> str:
    """On one line, for a command line between single quotes."""
    return json.dumps(document, separators=(",", ":"), default=str).replace("'", "\\u0027")
