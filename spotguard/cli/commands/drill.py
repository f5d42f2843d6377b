"""`spotguard drill`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from spotguard.cli.errors import CommandFailed
from spotguard.cli.options import Invocation, configured
from spotguard.cli.output import on_terminal, plain, write_json
from spotguard.cli.running_daemon import running_daemon
from spotguard.core.exit_status import ExitStatus

if TYPE_CHECKING:
    from spotguard.adapters.http.daemon_client import DaemonClient
    from spotguard.core.rehearsal import Asks, DrillReport

_ANSWER_SECONDS = 10.0
"""Beyond the deadline, for a daemon that is busy."""
_LEAST_SECONDS, _MOST_SECONDS = 1.0, 280.0


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(_LEAST_SECONDS, _MOST_SECONDS),
    default=120.0,
    show_default=True,
    help="How long before its time the notice comes.",
)
@click.option("--stop", is_flag=True, help="Send trainer.signal, as a real notice does: the trainer saves and STOPS.")
@click.option("--no-signal", is_flag=True, help="Do not ask the trainer, even where trainer.checkpoint_signal is set.")
@click.option("--hooks", is_flag=True, help="Run the hooks too; they are told that it is a drill.")
@configured(needs=(), json_help="Print what the drill came to as JSON.")
def command(invocation: Invocation, seconds: float, stop: bool, no_signal: bool, hooks: bool) -> int:
    """Rehearse an interruption on the live job and say what it would cost.

    The running daemon acts as if a notice had come: the trainer is asked for a checkpoint by trainer.checkpoint_signal and goes on,
    and what is whole is sent with the bandwidth cap lifted. No hooks run and nothing stops unless asked for. A real notice takes
    over at once. Exits 1 if something would be lost, 5 if no daemon answers.
    """
    from spotguard.core.rehearsal import Asks

    if stop and no_signal:
        raise click.UsageError("--stop and --no-signal exclude each other", ctx=click.get_current_context())
    asks = Asks.STOP if stop else Asks.NOTHING if no_signal else None
    report = asyncio.run(_drill(invocation, seconds, asks, hooks))
    if invocation.json:
        from spotguard.adapters.http.openapi import DRILL

        write_json(DRILL.dump_python(report, mode="json"))
    else:
        click.echo(plain(report.sentence))
    return ExitStatus.DONE if report.passed else ExitStatus.FAILED


async def _drill(invocation: Invocation, seconds: float, asks: Asks | None, hooks: bool) -> DrillReport:
    from spotguard.ports.daemon_control import DaemonRefused

    async with running_daemon(invocation) as daemon:
        try:
            await daemon.drill(seconds, asks=asks, hooks=hooks)
        except DaemonRefused as refused:
            if refused.status != 409:
                raise
            raise CommandFailed(f"no drill was held: {refused}", "see `spotguard status`") from refused
        if on_terminal() and not invocation.json:
            click.echo(f"rehearsing a notice of {seconds:.0f} s; Ctrl-C ends the waiting, not the drill", err=True)
        return await _report(daemon, seconds)


async def _report(daemon: DaemonClient, seconds: float) -> DrillReport:
    from spotguard.ports.daemon_control import DaemonRefused

    try:
        return await daemon.drill_report(seconds + _ANSWER_SECONDS)
    except DaemonRefused as refused:
        if refused.status != 404:
            raise
        raise CommandFailed("the drill did not end in time", "see the daemon's log, and `spotguard status`") from refused
