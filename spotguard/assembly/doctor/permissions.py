"""Each permission, by doing what it allows to one small object of our own."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from spotguard.assembly.doctor.patient import SEE_BUCKET, Patient
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.ports.object_store import ObjectExists, ObjectMissing, StoreDenied, StoreError, UploadMissing
from spotguard.ports.part_transfer import Upload

NAME = "permissions"
_NAMED = re.compile(r"not authorized to perform: ([A-Za-z0-9-]+:[A-Za-z]+)")
_WHY = {
    "s3:ListBucket": "what is committed cannot be seen, and what is missing cannot be told from what is denied",
    "s3:PutObject": "nothing can be saved",
    "s3:GetObject": "nothing can be restored or checked",
    "s3:DeleteObject": "retention and the janitor can delete nothing, and old checkpoints are paid for",
    "s3:AbortMultipartUpload": "uploads that were cut off stay and are paid for",
    "s3:ListMultipartUploadParts": "after a restart large files are sent again from their beginning",
    "s3:ListBucketMultipartUploads": "after a restart large files are sent again from their beginning",
}


@dataclass
class _Trial:
    """One sequence of requests; not frozen, as it notes what came of each."""

    patient: Patient
    allowed: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    denied: int = 0

    async def attempt(self, action: str, request: Callable[[], Awaitable[object]]) -> object | None:
        """What came back; None where it was denied or failed."""
        try:
            answer = await request()
        except (ObjectMissing, ObjectExists, UploadMissing):
            answer = True  # somebody looked, so we may
        except StoreDenied as error:
            self._note(_named_by(error) or action, error)
            return None
        except StoreError as error:
            self.findings.append(Finding(NAME, Verdict.WARNING, f"{action} could not be tried: {error}", _WHY[action], error.fix))
            return None
        self.allowed.append(action)
        return answer

    def _note(self, action: str, error: StoreError) -> None:
        self.denied += 1
        if all(finding.found.partition(" ")[0] != action for finding in self.findings):
            why = _WHY.get(action, "objects cannot be encrypted or read with the bucket's key")
            found = f"{action} is denied: {error}"
            self.findings.append(Finding(NAME, Verdict.ERROR, found, why, f"allow {action}: {self.patient.policy_fix()}"))


async def examine(patient: Patient) -> Sequence[Finding]:
    if await patient.store_trouble() is not None:
        return [Finding(NAME, Verdict.SKIPPED, SEE_BUCKET)]
    trial = _Trial(patient)
    await _objects(trial)
    await _uploads(trial)
    if not trial.allowed and trial.denied:
        found = f"everything is denied in {patient.keys.url}: the bucket is somebody else's, or these credentials have no policy for it"
        return [Finding(NAME, Verdict.ERROR, found, "nothing can be saved and nothing restored", patient.policy_fix())]
    if not trial.findings:
        return [Finding(NAME, Verdict.OK, f"{', '.join(sorted(set(trial.allowed)))}: all allowed, by doing them")]
    return trial.findings


async def _objects(trial: _Trial) -> None:
    store, key = trial.patient.store, trial.patient.own_key
    await trial.attempt("s3:ListBucket", lambda: store.list(trial.patient.keys.own, limit=1))
    made = await trial.attempt("s3:PutObject", lambda: store.create(key, b"spotguard doctor"))
    # Without an object of our own the answer would be the same for what is denied and for what is missing.
    if made is not None:
        await trial.attempt("s3:GetObject", lambda: store.read(key))
    await trial.attempt("s3:DeleteObject", lambda: store.delete([key]))


async def _uploads(trial: _Trial) -> None:
    transfer, key = trial.patient.transfer, trial.patient.own_key
    await trial.attempt("s3:ListBucketMultipartUploads", lambda: transfer.unfinished(f"{trial.patient.keys.own}doctor/"))
    upload = await trial.attempt("s3:PutObject", lambda: transfer.begin(key, metadata={}))
    if isinstance(upload, Upload):
        begun = upload
        await trial.attempt("s3:ListMultipartUploadParts", lambda: transfer.parts(begun))
        await trial.attempt("s3:AbortMultipartUpload", lambda: transfer.abort(begun))


def _named_by(error: StoreError) -> str | None:
    """The action that AWS itself says is missing: behind a PutObject it may be one of KMS."""
    match = _NAMED.search(str(error))
    return match[1] if match else None
