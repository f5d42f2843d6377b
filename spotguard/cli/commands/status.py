"""`spotguard status`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from spotguard.cli.options import Invocation, configured
from spotguard.cli.output import on_terminal, write_json
from spotguard.cli.running_daemon import running_daemon
from spotguard.core.exit_status import ExitStatus
from spotguard.core.problem import Severity

if TYPE_CHECKING:
    from spotguard.adapters.http.daemon_client import DaemonClient
    from spotguard.core.status import Status

_LOOK_SECONDS = 1.0


@click.command()
@click.option("--watch", is_flag=True, help="Look again every second until Ctrl-C.")
@click.option("--check", is_flag=True, help="Exit 1 if there is a problem of severity error.")
@configured(needs=(), json_help="Print what the daemon answers to GET /status; with --watch one line per look.")
def command(invocation: Invocation, watch: bool, check: bool) -> int:
    """Ask the running daemon whether the run is safe.

    The daemon is looked for at http.listen; exits 5 if none answers there.
    """
    if watch and check:
        raise click.UsageError("--watch and --check exclude each other", ctx=click.get_current_context())
    return asyncio.run(_watch(invocation) if watch else _look(invocation, check))


async def _look(invocation: Invocation, check: bool) -> int:
    async with running_daemon(invocation) as daemon:
        status = await daemon.status()
    _show(status, invocation)
    errors = any(problem.severity is Severity.ERROR for problem in status.problems)
    return ExitStatus.FAILED if check and errors else ExitStatus.DONE


async def _watch(invocation: Invocation) -> int:
    """Until Ctrl-C. That nobody answers ends it only at the first look; later it is what there is to see."""
    async with running_daemon(invocation) as daemon:
        status = await daemon.status()
        if on_terminal() and not invocation.json:
            await _watch_live(daemon, status)
        while True:
            _show(status, invocation, one_line=True)
            await asyncio.sleep(_LOOK_SECONDS)
            status = await daemon.status()


async def _watch_live(daemon: DaemonClient, status: Status) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from spotguard.cli.status_view import headline_text, status_view
    from spotguard.core.headline import Headline
    from spotguard.ports.daemon_control import NoDaemon

    with Live(status_view(status, datetime.now(UTC)), screen=True, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                status = await daemon.status()
            except NoDaemon as gone:
                lost = headline_text(Headline("bad", "NO ANSWER", f"{gone}; below is what it said last"))
                live.update(Group(lost, Text(), status_view(status, datetime.now(UTC))), refresh=True)
            else:
                live.update(status_view(status, datetime.now(UTC)), refresh=True)


def _show(status: Status, invocation: Invocation, *, one_line: bool = False) -> None:
    now = datetime.now(UTC)
    if invocation.json:
        from spotguard.adapters.http.openapi import STATUS

        write_json(STATUS.dump_python(status, mode="json"), one_line=one_line)
        return
    from spotguard.cli.status_view import status_view
    from spotguard.core.headline import headline

    if one_line:
        line = headline(status, now)
        click.echo(f"{now:%H:%M:%S} {line.word}: {line.sentence}")
        return
    from rich.console import Console

    terminal = on_terminal()
    Console(highlight=False, width=None if terminal else 160).print(status_view(status, now, boxed=terminal))
