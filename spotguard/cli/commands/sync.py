"""`spotguard sync`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from spotguard.cli.options import Invocation, configured
from spotguard.cli.output import count, plain, write_json

if TYPE_CHECKING:
    from spotguard.services.single_pass import SyncOutcome


@click.command()
@configured()
def command(invocation: Invocation) -> int:
    """Upload and commit all that is complete, then exit.

    A daemon that guards this run is asked to do it. Exits 1 if something complete did not get out.
    """
    from spotguard.assembly.syncing import run_sync
    from spotguard.cli.interruptible import run_interruptible
    from spotguard.cli.progress import progress_sink

    progress = progress_sink(as_json=invocation.json)
    try:
        outcome = run_interruptible(run_sync(invocation.config, progress))
    finally:
        progress.done()
    if invocation.json:
        write_json(_document(outcome))
    else:
        _tell(outcome)
    for name, reason in outcome.failed:
        click.echo(f"spotguard: {plain(name)} was not committed: {plain(reason)}", err=True)
    return outcome.exit_status


def _document(outcome: SyncOutcome) -> dict[str, Any]:
    return {
        "committed": list(outcome.committed),
        "already": outcome.already,
        "unfinished": [{"name": name, "reason": reason} for name, reason in outcome.unfinished],
        "failed": [{"name": name, "reason": reason} for name, reason in outcome.failed],
        "flushed_by_daemon": outcome.flushed_by_daemon,
        "exit_status": int(outcome.exit_status),
    }


def _tell(outcome: SyncOutcome) -> None:
    by = " (asked the running daemon)" if outcome.flushed_by_daemon else ""
    for name in outcome.committed:
        click.echo(f"committed {plain(name)}")
    for name, reason in outcome.unfinished:
        click.echo(f"not finished: {plain(name)}: {plain(reason)}")
    if outcome.already:
        click.echo(f"{count(outcome.already, 'checkpoint')} committed already{by}")
    elif not (outcome.committed or outcome.unfinished or outcome.failed):
        click.echo(f"no checkpoint to commit{by}")
