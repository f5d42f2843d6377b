"""Is this machine's clock right? S3's `Date` tells."""

from __future__ import annotations

from collections.abc import Sequence

from spotguard.assembly.doctor.patient import SEE_BUCKET, Patient
from spotguard.core.diagnosis import Finding, Verdict

NAME = "clock"
_WARNING_SECONDS = 30.0
_REFUSED_SECONDS = 900.0
"""S3 refuses what was signed longer ago (RequestTimeTooSkewed)."""
_FIX = "chronyc makestep (or start chrony or systemd-timesyncd)"


async def examine(patient: Patient) -> Sequence[Finding]:
    trouble = await patient.store_trouble()
    offset = patient.store.clock_offset()
    if trouble is not None and "clock is off" not in str(trouble):  # what answers may not be a store at all
        offset = None
    if offset is None:
        return [Finding(NAME, Verdict.SKIPPED, SEE_BUCKET if trouble else "the store's answers have no date")]
    if abs(offset) < _WARNING_SECONDS:
        return [Finding(NAME, Verdict.OK, f"within {max(abs(offset), 1.0):.0f} s of S3's")]
    verdict = Verdict.ERROR if abs(offset) >= _REFUSED_SECONDS else Verdict.WARNING
    way = "behind" if offset > 0 else "ahead"
    why = f"S3 refuses requests from a clock that is off by more than {_REFUSED_SECONDS / 60:.0f} min"
    return [Finding(NAME, verdict, f"{abs(offset):.0f} s {way} S3's", why, _FIX)]
