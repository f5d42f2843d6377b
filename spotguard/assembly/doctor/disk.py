"""Is there room for one restore?"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from spotguard.assembly.doctor.patient import Patient
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.core.phrasing import readable_bytes

NAME = "disk"


async def examine(patient: Patient) -> Sequence[Finding]:
    place = _existing(patient.config.watch.dir)
    free = shutil.disk_usage(place).free
    needed = await patient.newest_bytes()
    if needed is None:
        return [Finding(NAME, Verdict.OK, f"{readable_bytes(free)} free at {place}; how large a checkpoint is, is not known yet")]
    if free < needed:
        found = f"{readable_bytes(free)} free at {place}, the newest checkpoint has {readable_bytes(needed)}"
        why = "it could not be restored beside what lies there, and the trainer's next save may not fit"
        return [Finding(NAME, Verdict.WARNING, found, why, "free some space, or put watch.dir on a larger disk")]
    return [Finding(NAME, Verdict.OK, f"{readable_bytes(free)} free at {place}, room for a checkpoint of {readable_bytes(needed)}")]


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
