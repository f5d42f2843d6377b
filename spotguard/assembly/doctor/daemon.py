"""What a running daemon says of itself."""

from __future__ import annotations

from collections.abc import Sequence

from spotguard.assembly.doctor.patient import Patient
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.core.problem import Severity
from spotguard.ports.daemon_control import DaemonRefused, NoDaemon

NAME = "daemon"


async def examine(patient: Patient) -> Sequence[Finding]:
    listen = patient.config.http.listen
    try:
        health, status = await patient.daemon()
    except (NoDaemon, TimeoutError) as error:
        return [Finding(NAME, Verdict.SKIPPED, str(error) or f"the one at {listen} does not answer in time")]
    except DaemonRefused as error:
        fix = "set http.token, or SPOTGUARD_HTTP__TOKEN, to the daemon's"
        return [Finding(NAME, Verdict.WARNING, f"it refuses to be asked ({error.status})", "its problems cannot be seen", fix)]
    if health.run != patient.keys.url:
        why = "this run may have no daemon, or the port is taken"
        return [Finding(NAME, Verdict.WARNING, f"the one at {listen} guards {health.run}", why, "set http.listen, one port per run")]
    problems = [
        Finding(
            NAME, Verdict.ERROR if p.severity is Severity.ERROR else Verdict.WARNING, f"{p.code}: {p.message}", f"since {p.since}", p.fix
        )
        for p in status.problems
    ]
    return problems or [Finding(NAME, Verdict.OK, f"{status.state} since {status.since:%Y-%m-%dT%H:%M:%SZ}, without problems")]
