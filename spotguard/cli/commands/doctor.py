"""`spotguard doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from spotguard.cli.options import Invocation, configured
from spotguard.cli.output import on_terminal, plain, write_json
from spotguard.core.diagnosis import Verdict, is_healthy
from spotguard.core.exit_status import ExitStatus

if TYPE_CHECKING:
    from spotguard.core.diagnosis import Finding

_COLOURS = {Verdict.OK: "green", Verdict.SKIPPED: None, Verdict.WARNING: "yellow", Verdict.ERROR: "red"}


@click.command()
@click.option(
    "--skip", metavar="CHECK", multiple=True, help="Leave a check out, `throughput` for one (it sends bytes for 3 s); repeatable."
)
@configured()
def command(invocation: Invocation, skip: tuple[str, ...]) -> ExitStatus:
    """Check every precondition of a safe run, each with its fix.

    Writes, reads and deletes small objects of its own under .spotguard/doctor/ and nothing else. Exits 1 if anything is an error.
    """
    from spotguard.assembly.doctor.examination import CHECKS, examine_all
    from spotguard.assembly.doctor.patient import patient_of
    from spotguard.cli.interruptible import run_interruptible

    if unknown := [name for name in skip if name not in CHECKS]:
        raise click.UsageError(f"there is no check {unknown[0]!r}; one of {', '.join(CHECKS)}")

    async def work() -> list[Finding]:
        async with patient_of(invocation.config) as patient:
            return await examine_all(patient, skip=skip)

    findings = run_interruptible(work())
    if invocation.json:
        write_json(document(findings))
    else:
        _tell(findings)
    return ExitStatus.DONE if is_healthy(findings) else ExitStatus.FAILED


def document(findings: Sequence[Finding]) -> dict[str, Any]:
    checks = [{"check": f.check, "verdict": f.verdict.value, "found": f.found, "why": f.why, "fix": f.fix} for f in findings]
    return {"healthy": is_healthy(findings), "checks": checks}


def _tell(findings: Sequence[Finding]) -> None:
    for finding in findings:
        word = f"{finding.verdict.value:<8}"
        coloured = click.style(word, fg=_COLOURS[finding.verdict]) if on_terminal() else word
        click.echo(f"{coloured} {finding.check}: {plain(finding.found)}")
        for label, text in (("why", finding.why), ("fix", finding.fix)):
            if text and finding.verdict in (Verdict.WARNING, Verdict.ERROR):
                click.echo(f"           {label}: {plain(text)}")
    counts = {verdict: sum(f.verdict is verdict for f in findings) for verdict in (Verdict.ERROR, Verdict.WARNING)}
    if not any(counts.values()):
        click.echo("all is well")
    else:
        click.echo(", ".join(f"{number} {verdict.value}{'s' if number > 1 else ''}" for verdict, number in counts.items() if number))
