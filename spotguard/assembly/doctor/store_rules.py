"""What the store does with an object: conditions, checksums, encryption."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from spotguard.assembly.doctor.patient import SEE_BUCKET, Patient
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.ports.object_store import ObjectExists, StoreError

CONDITIONS, CHECKSUMS, ENCRYPTION = "conditional-writes", "checksums", "encryption"
_BODY = b"spotguard doctor"


async def examine(patient: Patient) -> Sequence[Finding]:
    names = (CONDITIONS, CHECKSUMS, ENCRYPTION)
    if await patient.store_trouble() is not None:
        return [Finding(name, Verdict.SKIPPED, SEE_BUCKET) for name in names]
    key = patient.own_key
    try:
        await patient.store.create(key, _BODY)
        conditions = await _conditions(patient, key)
        answer = await patient.access.call(
            "head_object", patient.access.subject("look at", key), {"Key": key, "ChecksumMode": "ENABLED"}, proof="ETag"
        )
    except StoreError:
        return [Finding(name, Verdict.SKIPPED, "no object could be written and read back: see `permissions`") for name in names]
    finally:
        with contextlib.suppress(StoreError):  # `permissions` tells of it
            await patient.store.delete([key])
    return [conditions, _checksums(answer), _encryption(patient, answer)]


async def _conditions(patient: Patient, key: str) -> Finding:
    try:
        await patient.store.create(key, _BODY + b"!")
    except ObjectExists:
        return Finding(CONDITIONS, Verdict.OK, "heeded: nothing is ever overwritten")
    return Finding(
        CONDITIONS,
        Verdict.WARNING,
        "ignored: the store overwrites although it is asked not to",
        "two daemons on one run could damage each other's files",
        "use a store that heeds If-None-Match (S3 does), and let one daemon at a time write this run",
    )


def _checksums(answer: Mapping[str, Any]) -> Finding:
    if answer.get("ChecksumCRC64NVME"):
        return Finding(CHECKSUMS, Verdict.OK, "kept: the store verifies and remembers the CRC64NVME of each object")
    return Finding(
        CHECKSUMS,
        Verdict.WARNING,
        "not kept: the store remembers no CRC64NVME",
        "bytes that were damaged on their way in are found out by a restore or `verify` only",
        "use a store that has CRC64NVME (S3 does), or run `spotguard verify` now and then",
    )


def _encryption(patient: Patient, answer: Mapping[str, Any]) -> Finding:
    found, key = answer.get("ServerSideEncryption"), answer.get("SSEKMSKeyId")
    wanted = patient.config.destination.sse
    if found is None:
        return Finding(
            ENCRYPTION,
            Verdict.WARNING,
            "objects are stored without encryption",
            "who gets at the disks of the store gets at the checkpoints",
            f"spotguard bucket create {patient.options}",
        )
    if wanted is not None and found != wanted:
        fix = f"set destination.sse to {found}, or correct the bucket: spotguard bucket create {patient.options}"
        return Finding(ENCRYPTION, Verdict.ERROR, f"{wanted} is asked for, {found} is what was done", "not the key that was meant", fix)
    costly = found == "aws:kms" and not answer.get("BucketKeyEnabled")
    if costly:
        fix = f"spotguard bucket create {patient.options}"
        return Finding(ENCRYPTION, Verdict.WARNING, f"{found} with {key}, without a bucket key", "each object costs a request to KMS", fix)
    return Finding(ENCRYPTION, Verdict.OK, f"{found}{f' with {key}' if key else ''}")
