"""Is the bucket there, does it answer, and is the prefix a place for a run?"""

from __future__ import annotations

from collections.abc import Sequence

from botocore.exceptions import ClientError

from spotguard.assembly.doctor.patient import Patient, told
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.ports.object_store import BucketMissing, StoreDenied, StoreError
from spotguard.services.run.run_checks import NestedRun, refuse_nested

NAME = "bucket"


async def examine(patient: Patient) -> Sequence[Finding]:
    error = await patient.store_trouble()
    if isinstance(error, BucketMissing):
        missing = "does not exist" in str(error) or "NoSuchBucket" in str(error)
        fix = f"spotguard bucket create {patient.options}" if missing else error.fix
        return [told(NAME, error, "there is nowhere to save to", fix)]
    if isinstance(error, StoreDenied) and not isinstance(error.__cause__, ClientError):
        return [Finding(NAME, Verdict.SKIPPED, "not tried without credentials: see the check `credentials`")]
    if error is not None:
        return [told(NAME, error, "nothing can be saved and nothing restored")]
    route = await patient.access.route(patient.access.subject("use"))
    style = "path style" if route.path_style else "virtual host"
    return [Finding(NAME, Verdict.OK, f"{patient.keys.bucket} answers at {route.endpoint} ({style})"), await _prefix(patient)]


async def _prefix(patient: Patient) -> Finding:
    try:
        await refuse_nested(patient.store, patient.keys)
    except NestedRun as error:
        return Finding(NAME, Verdict.ERROR, str(error), "two runs would take each other's files for their own", "change destination.url")
    except StoreError:
        return Finding(NAME, Verdict.SKIPPED, "whether another run lies around or inside the prefix could not be seen")
    return Finding(NAME, Verdict.OK, f"{patient.keys.url} lies neither inside nor around another run")
