"""Does the kernel tell of changes?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spotguard.adapters.disk.inotify_limits import refusal
from spotguard.assembly.doctor.patient import Patient
from spotguard.core.diagnosis import Finding, Verdict

NAME = "inotify"
_FEW_WATCHES = 8192


async def examine(patient: Patient) -> Sequence[Finding]:
    root = patient.config.watch.dir
    if not root.is_dir():
        return [Finding(NAME, Verdict.SKIPPED, f"{root} does not exist")]
    why = f"changes are seen by the scan every {patient.config.watch.rescan_seconds:g} s only"
    reason = refusal(str(root))
    if reason is not None:
        found, _, fix = reason.partition(": ")
        return [Finding(NAME, Verdict.WARNING, found, why, fix or "set watch.rescan_seconds lower")]
    most = _limit("max_user_watches")
    if most is not None and most < _FEW_WATCHES:
        fix = "sysctl fs.inotify.max_user_watches=524288"
        return [Finding(NAME, Verdict.WARNING, f"fs.inotify.max_user_watches is {most}: one per folder, for all of this user", why, fix)]
    return [Finding(NAME, Verdict.OK, f"works; fs.inotify.max_user_watches is {most if most is not None else 'not known'}")]


def _limit(name: str) -> int | None:
    try:
        return int(Path(f"/proc/sys/fs/inotify/{name}").read_text("ascii"))
    except (OSError, ValueError):
        return None
