"""`spotguard demo`: the whole story on one machine, told as it happens."""

from __future__ import annotations

import json
import signal
import sys
from types import FrameType
from typing import NoReturn

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spotguard.demo.daemon_process import DaemonTrouble
from spotguard.demo.embedded_s3 import MotoMissing
from spotguard.demo.performance import perform
from spotguard.demo.summary import PromiseBroken, Summary

_FAILED = 1
_USAGE = 2


class ConsoleNarrator:
    """Bold titles on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._scenes = 0

    def scene(self, title: str) -> None:
        self._scenes += 1
        self._console.print()
        self._console.print(Text(f"{self._scenes}. {title}", style="bold cyan"), soft_wrap=True)

    def tell(self, text: str) -> None:
        self._console.print(Text(f"   {text}"), soft_wrap=True)


def _show(summary: Summary, console: Console) -> None:
    table = Table(
        box=box.SIMPLE_HEAD if console.is_terminal else box.ASCII2, show_header=False, title="What it came to", title_justify="left"
    )
    table.add_column(justify="left")
    table.add_column(justify="right")
    for saved in summary.saved:
        table.add_row(f"saved: {saved.name} ({saved.state})", f"{saved.bytes / 1e6:.1f} MB")
    for phase in summary.phases:
        table.add_row(phase.name, f"{phase.seconds:.2f} s")
    table.add_row("left of the notice at the verdict", f"{summary.seconds_left_at_verdict:.1f} s")
    table.add_row(
        f"stopped at step {summary.stopped_at_step}, went on from {summary.resumed_from}, ended at step", str(summary.finished_at_step)
    )
    table.add_row("last checkpoint identical to an uninterrupted run's", "yes" if summary.identical_to_uninterrupted else "NO")
    table.add_row(
        Text("lost", style="bold"), Text(f"{summary.steps_lost} steps", style="bold green" if not summary.steps_lost else "bold red")
    )
    console.print()
    console.print(table)


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # so that SIGTERM cleans up as Ctrl-C does


@click.command("demo")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON; the story goes to standard error.")
@click.option("--keep", is_flag=True, help="Leave the folder with the logs and the second machine behind, and say where it is.")
def demo(as_json: bool, keep: bool) -> None:
    """Show an interruption and a resume on this machine: no AWS account, no root, under a minute.

    An embedded S3 server, a metadata service and a small trainer run on loopback; the daemon and the restore are the real ones.
    Exits 1 if anything was lost.
    """
    console = Console(stderr=as_json, highlight=False)
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        summary = perform(ConsoleNarrator(console), keep=keep)
    except MotoMissing as missing:
        click.echo(f"Error: {missing}", err=True)
        sys.exit(_USAGE)
    except (PromiseBroken, DaemonTrouble) as broken:
        click.echo(f"Error: the demo failed: {broken}", err=True)
        sys.exit(_FAILED)
    finally:
        signal.signal(signal.SIGTERM, before)
    if as_json:
        click.echo(json.dumps(summary.as_json(), indent=2, ensure_ascii=False))
    else:
        _show(summary, console)
