"""`spotguard daemon`."""

from __future__ import annotations

import asyncio

import click

from spotguard.cli.options import Invocation, configured


@click.command()
@configured(logs="full")
def command(invocation: Invocation) -> int:
    """Guard the run: watch, upload, commit, and drain at an interruption."""
    from spotguard.assembly.daemon import run_daemon
    from spotguard.config.sources import require_target

    require_target(invocation.loaded)
    return asyncio.run(run_daemon(invocation.config))
