"""`spotguard restore`."""

from __future__ import annotations

import os

import click

from spotguard.cli.loading import collector_paused
from spotguard.cli.options import Invocation, configured
from spotguard.cli.output import write_json


@click.command()
@click.argument("name", required=False)
@click.option("--stage", metavar="STAGE", help="Only checkpoints of this stage (the parent path of their names).")
@click.option("--to", "to", metavar="DIR", help="Restore to DIR/NAME instead of the watch root.")
@configured(needs=["destination.url"])
def command(invocation: Invocation, name: str | None, stage: str | None, to: str | None) -> None:
    """Bring the newest committed checkpoint back, or NAME, with its state and the loose files.

    Every byte is verified. A damaged one is skipped for the next older. Exits 3 if there is nothing, 4 if all is damaged.
    """
    with collector_paused():
        from spotguard.assembly.restoring import way_back
        from spotguard.cli.interruptible import run_interruptible
        from spotguard.cli.progress import progress_sink
        from spotguard.cli.restore_view import document, tell
        from spotguard.services.restore.restore_outcome import RestoreOutcome

    if to is None:
        invocation.require("watch.dir")
    wanted = None if name is None else checked_name(name)
    folder = None if to is None else os.path.abspath(to)
    progress = progress_sink(as_json=invocation.json)

    async def work() -> RestoreOutcome:
        async with way_back(invocation.config, asks_metadata=True) as back:
            return await back.restore(
                wanted,
                stage=checked_stage(stage),
                to=folder,
                patient=False,
                progress=progress,
                say=lambda line: click.echo(f"spotguard: {line}", err=True),
            )

    outcome = run_interruptible(work())
    if invocation.json:
        write_json(document(outcome))
    else:
        tell(outcome, invocation.config.destination.url)


def checked_name(name: str) -> str:
    """A checkpoint's name as `list` shows it, forgiving a slash at its end. Raises UsageError."""
    stripped = name.rstrip("/").removeprefix("./")
    if not stripped or stripped.startswith("/") or ".." in stripped.split("/"):
        raise click.UsageError(f"{name!r} is not the name of a checkpoint; `spotguard list` shows the names")
    return stripped


def checked_stage(stage: str | None) -> str | None:
    return None if stage is None else stage.strip("/")
