"""`spotguard adopt`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from spotguard.cli.commands.restore import checked_name
from spotguard.cli.options import Invocation, configured
from spotguard.cli.output import count, plain, size, write_json
from spotguard.core.exit_status import ExitStatus

if TYPE_CHECKING:
    from spotguard.services.adoption.adoption import AdoptOutcome


@click.command()
@click.argument("name", required=False)
@configured(needs=["destination.url"])
def command(invocation: Invocation, name: str | None) -> ExitStatus:
    """Commit what another tool put into the prefix, `aws s3 sync` for one: all that is whole, or NAME.

    Moves, copies and deletes nothing. Stop the other tool first. Exits 3 if there is nothing to adopt, 4 if what is there is half.
    """
    from spotguard.assembly.adopting import run_adopt
    from spotguard.cli.interruptible import run_interruptible
    from spotguard.cli.progress import progress_sink

    wanted = None if name is None else checked_name(name)
    progress = progress_sink(as_json=invocation.json)
    try:
        outcome = run_interruptible(run_adopt(invocation.config, wanted, progress))
    finally:
        progress.done()
    if invocation.json:
        write_json(document(outcome))
    else:
        _tell(outcome)
    for refused, reason in outcome.refused:
        click.echo(f"spotguard: {plain(refused)} was not adopted: {plain(reason)}", err=True)
    return ExitStatus.DAMAGED if outcome.refused and not (outcome.adopted or outcome.already) else ExitStatus.DONE


def document(outcome: AdoptOutcome) -> dict[str, Any]:
    return {
        "adopted": [{"name": a.name, "files": a.files, "bytes": a.bytes, "bytes_read": a.bytes_read} for a in outcome.adopted],
        "already": list(outcome.already),
        "refused": [{"name": name, "reason": reason} for name, reason in outcome.refused],
        "loose": outcome.loose,
    }


def _tell(outcome: AdoptOutcome) -> None:
    for adopted in outcome.adopted:
        how = f"{size(adopted.bytes_read)} read" if adopted.bytes_read else "checksums from the store"
        click.echo(f"adopted {plain(adopted.name)} ({count(adopted.files, 'file')}, {size(adopted.bytes)}; {how})")
    if outcome.loose:
        click.echo(f"{count(outcome.loose, 'loose file')} will be restored with them")
    if outcome.already:
        click.echo(f"{count(len(outcome.already), 'checkpoint')} committed already")
