"""Does the instance metadata service answer, and if not, is it the hop limit or the network?"""

from __future__ import annotations

from collections.abc import Sequence

from spotguard.assembly.doctor.patient import Patient
from spotguard.assembly.metadata import metadata_service
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.ports.metadata_service import MetadataUnavailable

NAME = "metadata-service"
_WHY = "an interruption is not seen coming: only what was uploaded by then is saved"


async def examine(patient: Patient) -> Sequence[Finding]:
    async with metadata_service(patient.config) as service:
        if service is None:
            found = "off: this is no EC2 instance, or imds.mode says so"
            return [Finding(NAME, Verdict.SKIPPED, found)]
        try:
            sighting = await service.poll()
            instance = await service.identity()
        except MetadataUnavailable as error:
            return [
                Finding(
                    NAME, Verdict.ERROR, str(error), _WHY, error.fix or "try again; if it lasts, look at the instance's metadata options"
                )
            ]
    who = ", ".join(word for word in (instance.id, instance.type, instance.zone, instance.lifecycle) if word)
    pending = "; a notice is pending" if sighting.notices else ""
    return [Finding(NAME, Verdict.OK, f"answers{f': {who}' if who else ''}{pending}")]
