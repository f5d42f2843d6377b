"""`spotguard demo`: the whole story on one machine, told as it happens."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spotguard.cli.errors import CommandFailed
from spotguard.cli.options import overrides_of
from spotguard.demo.daemon_process import DaemonTrouble
from spotguard.demo.embedded_s3 import MotoMissing
from spotguard.demo.performance import perform
from spotguard.demo.summary import PromiseBroken, Summary
from spotguard.demo.world import DESTINATION, Wishes

_ITS_OWN = {"trainer", "imds", "node", "http", "destination.endpoint_url", "destination.region"}
"""Sections and keys that make the story: who is signalled and how, where S3 and the metadata service are, where the status is."""


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


def _rows(summary: Summary) -> list[tuple[str, str]]:
    saved = [(f"saved: {entry.name} ({entry.state})", f"{entry.bytes / 1e6:.1f} MB") for entry in summary.saved]
    phases = [(phase.name, f"{phase.seconds:.2f} s") for phase in summary.phases]
    return [
        *saved,
        *phases,
        ("left before the deadline at the verdict", f"{summary.seconds_left_at_verdict:.1f} s"),
        ("stopped at step", str(summary.stopped_at_step)),
        ("went on from", f"{summary.resumed_from} (step {summary.resumed_at_step})"),
        ("ended at step", str(summary.finished_at_step)),
        ("last checkpoint identical to an uninterrupted run's", "yes" if summary.identical_to_uninterrupted else "NO"),
    ]


def _show(summary: Summary, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in _rows(summary):
        table.add_row(Text(name), Text(value))
    table.add_row(Text("lost", style="bold"), Text(f"{summary.steps_lost} steps", style="bold red" if summary.steps_lost else "bold green"))
    console.print()
    console.print(Text("What it came to", style="bold cyan"))
    console.print(table)


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # so that SIGTERM clears everything away as Ctrl-C does


def _failed(error: Exception, console: Console) -> CommandFailed:
    """The first line is the error's; what follows it (the last lines of a log) is shown as it is."""
    line, _, detail = str(error).partition("\n")
    if detail:
        console.print(Text(detail), soft_wrap=True)
    return CommandFailed(f"the demo failed: {line.rstrip(':')}")


def _wishes(overrides: list[tuple[str, str]]) -> Wishes:
    """Raises ConfigError, as every command does, and for the keys that the demo has to decide itself."""
    from spotguard.config.errors import ConfigError
    from spotguard.config.keys import KEYS
    from spotguard.config.sources import load_config

    given = dict(overrides)
    if ours := [key for key in given if key in _ITS_OWN or key.partition(".")[0] in _ITS_OWN]:
        raise ConfigError([f"{key} = {given[key]!r} (--set): the demo decides this itself; leave it out" for key in ours])
    config = load_config(os.devnull, overrides, {}, os.getcwd(), needs=()).config
    output, destination = given.pop("watch.dir", None), given.pop("destination.url", None)
    return Wishes(
        destination=DESTINATION if destination is None else config.destination.url,
        output=None if output is None else Path(config.watch.dir),
        variables={KEYS[key].variable: text for key, text in given.items()},
    )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON; the story goes to standard error.")
@click.option("--keep", is_flag=True, help="Leave the folder with the logs and the second machine behind, and say where it is.")
@click.option(
    "--dir", "watch_dir", metavar="DIR", help="Where both machines train, one after the other; must be empty, and goes with them."
)
@click.option("--url", "destination_url", metavar="s3://BUCKET/PREFIX", help="Where the run is kept, in the embedded S3.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Any key of the daemons' configuration; repeatable.")
def command(as_json: bool, keep: bool, watch_dir: str | None, destination_url: str | None, settings: tuple[str, ...]) -> None:
    """See the whole story on this machine: no AWS account, no root, under a minute.

    An embedded S3 server, a metadata service and a small trainer run on loopback; the daemon and the restore are the real ones.
    Exits 1 if anything was lost. Neither a configuration file nor the environment is read.
    """
    wishes = _wishes(overrides_of(watch_dir, destination_url, settings))
    console = Console(stderr=as_json, highlight=False)
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        summary = perform(ConsoleNarrator(console), keep=keep, wishes=wishes)
    except MotoMissing as missing:
        raise CommandFailed(str(missing), "pip install 'spotguard[demo]'") from missing
    except (PromiseBroken, DaemonTrouble) as broken:
        raise _failed(broken, console) from broken
    finally:
        signal.signal(signal.SIGTERM, before)
    if as_json:
        click.echo(json.dumps(summary.as_json(), indent=2, ensure_ascii=False))
    else:
        _show(summary, console)
