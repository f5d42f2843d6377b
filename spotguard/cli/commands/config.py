"""`spotguard config`."""

from __future__ import annotations

import json
from typing import Any

import click

from spotguard.cli.options import Invocation, configured
from spotguard.cli.output import plain, write_json


@click.command()
@configured()
def command(invocation: Invocation) -> None:
    """Show the effective configuration and where each value came from.

    Exits 2, with one line for each mistake, if the configuration cannot be used. Secrets are masked.
    """
    from spotguard.config.effective import effective_values, nested

    values, loaded = effective_values(invocation.loaded), invocation.loaded
    if invocation.json:
        sources = {name: str(source) for name, source in loaded.provenance.items()}
        write_json({"file": loaded.file, "config": nested(values), "sources": sources})
        return
    shown = {name: _text(value) for name, value in values.items()}
    name_width, value_width = max(map(len, shown)), min(40, max(map(len, shown.values())))
    click.echo(f"# configuration file: {plain(loaded.file) if loaded.file else 'none'}")
    for name, value in shown.items():
        click.echo(f"{name:<{name_width}}  {value:<{value_width}}  {plain(str(loaded.provenance[name]))}")


def _text(value: Any) -> str:
    return plain(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
