"""`spotguard verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from spotguard.cli.commands.restore import checked_name
from spotguard.cli.options import Invocation, configured
from spotguard.cli.output import count, plain, size, write_json
from spotguard.core.exit_status import ExitStatus

if TYPE_CHECKING:
    from spotguard.services.restore.verifier import VerifyOutcome


@click.command()
@click.argument("name", required=False)
@configured(needs=["destination.url"])
def command(invocation: Invocation, name: str | None) -> ExitStatus:
    """Re-read all committed checkpoints, or NAME, and check every byte.

    Exits 4 on any damage, with one line for each damaged object, and 3 if NAME was never committed.
    """
    from spotguard.assembly.restoring import way_back
    from spotguard.cli.interruptible import run_interruptible
    from spotguard.cli.progress import progress_sink

    wanted = None if name is None else checked_name(name)
    progress = progress_sink(as_json=invocation.json)

    async def work() -> VerifyOutcome:
        async with way_back(invocation.config) as back:
            return await back.verify(wanted, progress)

    outcome = run_interruptible(work())
    if invocation.json:
        write_json(_document(outcome))
    else:
        _tell(outcome, invocation.config.destination.url)
    for damage in outcome.damages:
        click.echo(f"spotguard: {plain(damage.name)} (generation {damage.generation}): {plain(damage.reason)}", err=True)
    return ExitStatus.DAMAGED if outcome.damages else ExitStatus.DONE


def _tell(outcome: VerifyOutcome, url: str) -> None:
    for checked in outcome.checkpoints:
        amount = f"{count(checked.files, 'file')}, {size(checked.bytes)}"
        click.echo(f"{'ok     ' if checked.sound else 'DAMAGED'} {plain(checked.name)} (generation {checked.generation}, {amount})")
    bad = sum(1 for checked in outcome.checkpoints if not checked.sound)
    if not outcome.checkpoints:
        click.echo(f"nothing is committed in {url}")
    elif bad:
        click.echo(f"{bad} of {count(len(outcome.checkpoints), 'commit')} damaged, {size(outcome.bytes_read)} read and right")
    else:
        click.echo(f"{count(len(outcome.checkpoints), 'commit')} whole, {size(outcome.bytes_read)} read and right")


def _document(outcome: VerifyOutcome) -> dict[str, Any]:
    return {
        "sound": not outcome.damages,
        "bytes_read": outcome.bytes_read,
        "checkpoints": [
            {"name": c.name, "generation": c.generation, "files": c.files, "bytes": c.bytes, "sound": c.sound} for c in outcome.checkpoints
        ],
        "damages": [{"name": d.name, "generation": d.generation, "reason": d.reason} for d in outcome.damages],
    }
