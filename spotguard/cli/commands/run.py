"""`spotguard run`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from spotguard.cli.options import Invocation, configured
from spotguard.cli.reporting import reported

if TYPE_CHECKING:
    from spotguard.adapters.telling.message_link import MessageLink
    from spotguard.cli.resume_course import Resume
    from spotguard.config.models import Config


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option("--stage", metavar="STAGE", help="Only checkpoints of this stage (the parent path of their names).")
@click.option("--to", "to", metavar="DIR", help="Restore to DIR/NAME instead of the watch root.")
@click.option("--fresh", is_flag=True, help="Start without any checkpoint, whatever is there.")
@click.option("--again", is_flag=True, help="Train on although the run is recorded as finished.")
@click.option("--strict", is_flag=True, help="Exit 6 when CMD ended well, or was interrupted, and something did not get out.")
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED, required=True)
@configured(logs="full", json_help="Print the first line as JSON; log JSON lines.")
def command(invocation: Invocation, stage: str | None, to: str | None, fresh: bool, again: bool, strict: bool, cmd: tuple[str, ...]) -> int:
    """Restore, start CMD and guard it: daemon and trainer in one line.

    Placeholders and variables are those of `resume`. Exits with CMD's status, or 128 + n for signal n; 75 when CMD ended after a notice
    or SIGTERM: start it again; 125 when it could not be started. A run whose CMD exited 0 is recorded as finished and not started again.
    """
    from spotguard.assembly.run_settings import own_notice_file, run_config, trainer_environment
    from spotguard.cli.commands.restore import checked_stage
    from spotguard.cli.resume_course import Resume
    from spotguard.cli.run_course import RunCourse
    from spotguard.cli.run_order import RunOrder, Work

    config = run_config(invocation.loaded)
    course = Resume(
        invocation, stage=checked_stage(stage), to=None if to is None else os.path.abspath(to), fresh=fresh, again=again, command=tuple(cmd)
    )
    order = RunOrder(
        command=cmd,
        grace_seconds=config.interruption.shutdown_grace_seconds,
        strict=strict,
        again=again,
        environment=trainer_environment(config),
    )
    notice = own_notice_file()
    notice.unlink(missing_ok=True)  # of a process that had our number and was killed
    try:
        return RunCourse(order, Work(lambda link: _restore(course, link), lambda link: _guard(config, link))).run()
    finally:
        notice.unlink(missing_ok=True)


def _restore(course: Resume, link: MessageLink) -> int:
    """In the process that restores: say to the parent from where the trainer goes on."""
    from spotguard.cli.interruptible import run_interruptible
    from spotguard.cli.resume_course import Stay

    def work() -> int:
        decision = run_interruptible(course.decide(on_restore=lambda: link.send({"restoring": True})))
        if isinstance(decision, Stay):
            return decision.status
        link.send({"point": {"checkpoint": decision.checkpoint, "stage": decision.stage, "step": decision.step}})
        return 0

    return reported(work, verbose=course.invocation.verbose)


def _guard(config: Config, link: MessageLink) -> int:
    """In the process that guards."""
    import asyncio

    from spotguard.assembly.run_guard import guard_command

    return reported(lambda: asyncio.run(guard_command(config, link)), verbose=True)
