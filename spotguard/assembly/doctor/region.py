"""Is the bucket in the region of this machine?"""

from __future__ import annotations

from collections.abc import Sequence

from spotguard.assembly.doctor.patient import SEE_BUCKET, Patient
from spotguard.assembly.metadata import metadata_service
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.ports.metadata_service import MetadataUnavailable

NAME = "region"


async def examine(patient: Patient) -> Sequence[Finding]:
    if await patient.store_trouble() is not None:
        return [Finding(NAME, Verdict.SKIPPED, SEE_BUCKET)]
    route = await patient.access.route(patient.access.subject("use"))
    zone = await _zone(patient)
    if zone is None:
        return [Finding(NAME, Verdict.OK, f"the bucket is in {route.region}; where this machine is, is not known")]
    if not zone.startswith(route.region):
        why = "every byte crosses regions: slower than the notice may allow, and charged"
        fix = f"make a bucket in {zone[:-1]}: spotguard bucket create --url s3://NEW-BUCKET/run --set destination.region={zone[:-1]}"
        return [Finding(NAME, Verdict.WARNING, f"the bucket is in {route.region}, this machine in {zone}", why, fix)]
    return [Finding(NAME, Verdict.OK, f"bucket and machine are in {route.region}")]


async def _zone(patient: Patient) -> str | None:
    async with metadata_service(patient.config) as service:
        if service is None:
            return None
        try:
            return (await service.identity()).zone
        except MetadataUnavailable:
            return None
