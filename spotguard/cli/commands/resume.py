"""`spotguard resume`."""

from __future__ import annotations

import os

import click

from spotguard.cli.loading import collector_paused
from spotguard.cli.options import Invocation, configured
from spotguard.core.exit_status import ExitStatus


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option("--stage", metavar="STAGE", help="Only checkpoints of this stage (the parent path of their names).")
@click.option("--to", "to", metavar="DIR", help="Restore to DIR/NAME instead of the watch root.")
@click.option("--fresh", is_flag=True, help="Start without any checkpoint, whatever is there.")
@click.option("--again", is_flag=True, help="Train on although the run is recorded as finished.")
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED, required=True)
@configured(needs=["destination.url"])
def command(invocation: Invocation, stage: str | None, to: str | None, fresh: bool, again: bool, cmd: tuple[str, ...]) -> ExitStatus:
    """Restore, then become CMD, the command that trains on.

    {checkpoint}, {stage} and {step} in CMD are replaced, and SPOTGUARD_CHECKPOINT, SPOTGUARD_STAGE and SPOTGUARD_STEP are set.
    CMD is started after a restore or when there is nothing to restore, never when the bucket could not be read.
    """
    with collector_paused():
        from spotguard.cli.commands.restore import checked_stage
        from spotguard.cli.interruptible import run_interruptible
        from spotguard.cli.replacement import become, open_descriptors
        from spotguard.cli.resume_course import Resume, Stay

    if to is None:
        invocation.require("watch.dir")
    inherited = open_descriptors()
    course = Resume(
        invocation, stage=checked_stage(stage), to=None if to is None else os.path.abspath(to), fresh=fresh, again=again, command=tuple(cmd)
    )
    decision = run_interruptible(course.decide())
    if isinstance(decision, Stay):
        return decision.status
    return become(cmd, decision, inherited)
