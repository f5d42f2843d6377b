"""`spotguard list`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from spotguard.cli.commands.restore import checked_stage
from spotguard.cli.options import Invocation, configured
from spotguard.cli.output import age, count, on_terminal, plain, size, write_json
from spotguard.core.prices import AS_OF, REGION, readable_usd, usd_per_month
from spotguard.core.timestamps import format_time

if TYPE_CHECKING:
    from spotguard.assembly.restoring import Listed, Stored

_COLUMNS = ("NAME", "STEP", "GENERATION", "SAVED", "SIZE", "FILES", "HOST", "A MONTH")


@click.command()
@click.option("--stage", metavar="STAGE", help="Only checkpoints of this stage (the parent path of their names).")
@configured(needs=["destination.url"])
def command(invocation: Invocation, stage: str | None) -> None:
    """Show the committed checkpoints, the newest first, with their sizes and what they cost a month.

    The costs are S3's list prices for storage in us-east-1, not your bill. In a pipe: tab-separated lines.
    """
    from spotguard.assembly.restoring import way_back
    from spotguard.cli.interruptible import run_interruptible

    async def work() -> tuple[list[Listed], Stored]:
        async with way_back(invocation.config) as back:
            return await back.list(checked_stage(stage)), await back.stored()

    found, stored = run_interruptible(work())
    storage_class = invocation.config.destination.storage_class or "STANDARD"
    if invocation.json:
        write_json(_documents(invocation.config.destination.url, found, stored, storage_class))
        return
    if not found:
        of_stage = f" of the stage {stage!r}" if stage is not None else ""
        click.echo(f"no committed checkpoint{of_stage} in {invocation.config.destination.url}", err=True)
        return
    rows = [_row(one, storage_class) for one in found]
    _table(rows, _total(stored, storage_class)) if on_terminal() else _lines(rows)
    for one in found:
        if one.manifest is None:
            click.echo(f"spotguard: {plain(one.key.name)}: {plain(one.why_unreadable)}", err=True)


def _row(one: Listed, storage_class: str) -> tuple[str, ...]:
    if one.manifest is None:
        saved = datetime.fromtimestamp(one.key.saved_at, UTC)
        return (plain(one.key.name), "", str(one.key.generation), _when(saved), "", "", "unreadable", "")
    manifest = one.manifest
    return (
        plain(manifest.name),
        "" if manifest.step is None else str(manifest.step),
        str(manifest.generation),
        _when(manifest.saved_at),
        size(manifest.total_bytes),
        str(len(manifest.files)),
        plain(manifest.host.instance_id or manifest.host.hostname),
        readable_usd(usd_per_month(manifest.total_bytes, storage_class)),
    )


def _when(saved_at: datetime) -> str:
    return age(saved_at, datetime.now(UTC)) if on_terminal() else format_time(saved_at)


def _lines(rows: list[tuple[str, ...]]) -> None:
    """Tab-separated, for `cut` and `awk`."""
    for row in rows:
        click.echo("\t".join(row))


def _total(stored: Stored, storage_class: str) -> str:
    cost = readable_usd(usd_per_month(stored.bytes, storage_class))
    basis = f"{storage_class}, {REGION}, prices of {AS_OF.isoformat()}"
    return f"all in the prefix: {count(stored.objects, 'object')}, {size(stored.bytes)}, {cost} a month ({basis})"


def _table(rows: list[tuple[str, ...]], total: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", caption=f"{count(len(rows), 'checkpoint')}; {total}", caption_justify="left")
    for column in _COLUMNS:
        table.add_column(
            column, justify="right" if column in ("STEP", "GENERATION", "SIZE", "FILES", "A MONTH") else "left", no_wrap=column != "NAME"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _documents(url: str, found: list[Listed], stored: Stored, storage_class: str) -> dict[str, Any]:
    return {
        "url": url,
        "checkpoints": [_document(one, storage_class) for one in found],
        "stored": {"objects": stored.objects, "bytes": stored.bytes, "usd_per_month": _cents(stored.bytes, storage_class)},
        "prices": {"storage_class": storage_class, "region": REGION, "as_of": AS_OF.isoformat()},
    }


def _cents(stored_bytes: int, storage_class: str) -> float | None:
    cost = usd_per_month(stored_bytes, storage_class)
    return None if cost is None else round(cost, 6)


def _document(one: Listed, storage_class: str) -> dict[str, Any]:
    manifest = one.manifest
    if manifest is None:
        return {"name": one.key.name, "generation": one.key.generation, "readable": False, "why": one.why_unreadable}
    return {
        "name": manifest.name,
        "stage": manifest.stage,
        "step": manifest.step,
        "generation": manifest.generation,
        "saved_at": format_time(manifest.saved_at),
        "committed_at": format_time(manifest.committed_at),
        "bytes": manifest.total_bytes,
        "usd_per_month": _cents(manifest.total_bytes, storage_class),
        "files": len(manifest.files),
        "layout": manifest.layout,
        "reason": manifest.reason,
        "host": {"hostname": manifest.host.hostname, "instance_id": manifest.host.instance_id},
        "readable": True,
    }
