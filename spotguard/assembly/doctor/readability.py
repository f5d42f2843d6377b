"""Which files cannot be read, or cannot be stored as they lie there."""

from __future__ import annotations

from collections.abc import Sequence

from spotguard.assembly.doctor.patient import Patient
from spotguard.core.diagnosis import Finding, Verdict

NAME = "readable"
_MOST_NAMED = 5


async def examine(patient: Patient) -> Sequence[Finding]:
    inventory = await patient.inventory()
    if inventory is None:
        return [Finding(NAME, Verdict.SKIPPED, "there is no folder to look at")]
    reasons = dict(inventory.unreadable)
    reasons |= {name: c.broken for name, c in inventory.checkpoints.items() if c.broken and not any(p.startswith(name) for p in reasons)}
    if not reasons:
        return [Finding(NAME, Verdict.OK, "every file in the watched folder can be read")]
    named = "; ".join(f"{path}: {reason}" for path, reason in list(reasons.items())[:_MOST_NAMED])
    more = f"; and {len(reasons) - _MOST_NAMED} more" if len(reasons) > _MOST_NAMED else ""
    fix = (
        "run spotguard as the trainer's user (or with CAP_DAC_READ_SEARCH: systemd AmbientCapabilities, docker --cap-add DAC_READ_SEARCH);"
        " for links that lead out set watch.follow_links"
    )
    return [Finding(NAME, Verdict.ERROR, f"{named}{more}", "a checkpoint with such a file cannot be saved", fix)]
