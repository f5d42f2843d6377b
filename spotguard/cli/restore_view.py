"""What restore and resume say of what they did."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from spotguard.cli.output import age, count, duration, plain, size
from spotguard.core.timestamps import format_time

if TYPE_CHECKING:
    from spotguard.services.restore.restore_outcome import RestoreOutcome


def describe(outcome: RestoreOutcome, now: datetime | None = None) -> str:
    """`sft/checkpoint-1200 (step 1200, saved 4 min ago by i-0abc)`."""
    step = "" if outcome.step is None else f"step {outcome.step}, "
    saved = age(outcome.saved_at, now or datetime.now(UTC))
    return f"{plain(outcome.name)} ({step}saved {saved} by {plain(outcome.saved_by)})"


def tell(outcome: RestoreOutcome, url: str) -> None:
    """One line on standard output, and one on standard error for each thing that a person should know."""
    if outcome.source == "local":
        click.echo(f"kept {describe(outcome)} in {plain(outcome.path)}: it is whole and newer than what {url} has")
    else:
        click.echo(f"restored {describe(outcome)} to {plain(outcome.path)}: {_amount(outcome)}")
    tell_particulars(outcome)


def tell_particulars(outcome: RestoreOutcome) -> None:
    """What was skipped, moved and left, on standard error."""
    for skipped in outcome.skipped:
        _note(f"skipped {skipped.name} (generation {skipped.generation}), which is newer: {skipped.reason}")
    for moved in outcome.moved_aside:
        _note(f"moved {moved.name} aside to {moved.to}: {moved.reason}")
    for left in outcome.left_alone:
        _note(f"left {left.name} alone: {left.reason}")
    for warning in outcome.warnings:
        _note(warning)


def _note(text: str) -> None:
    click.echo(f"spotguard: {plain(text)}", err=True)


def _amount(outcome: RestoreOutcome) -> str:
    moved = outcome.bytes_fetched + outcome.loose_bytes_fetched
    if not outcome.files_fetched and not outcome.loose_fetched:
        return f"{count(outcome.files_reused, 'file')} here already, verified, nothing fetched"
    rate = f", {size(moved / outcome.seconds)}/s" if outcome.seconds > 0 else ""
    parts = [f"{count(outcome.files_fetched, 'file')}, {size(outcome.bytes_fetched)} in {duration(outcome.seconds)}{rate}"]
    if outcome.files_reused:
        parts.append(f"{count(outcome.files_reused, 'file')} here already")
    if outcome.loose_fetched:
        parts.append(count(outcome.loose_fetched, "loose file"))
    return ", ".join(parts)


def document(outcome: RestoreOutcome) -> dict[str, Any]:
    """The JSON of a restore."""
    return {
        "name": outcome.name,
        "stage": outcome.stage,
        "step": outcome.step,
        "path": outcome.path,
        "source": outcome.source,
        "generation": outcome.generation,
        "saved_at": format_time(outcome.saved_at),
        "saved_by": outcome.saved_by,
        "world_size": outcome.world_size,
        "files_fetched": outcome.files_fetched,
        "bytes_fetched": outcome.bytes_fetched,
        "files_reused": outcome.files_reused,
        "companions_written": outcome.companions_written,
        "loose_fetched": outcome.loose_fetched,
        "loose_bytes_fetched": outcome.loose_bytes_fetched,
        "seconds": outcome.seconds,
        "skipped": [{"name": s.name, "generation": s.generation, "reason": s.reason} for s in outcome.skipped],
        "moved_aside": [{"name": m.name, "to": m.to, "reason": m.reason} for m in outcome.moved_aside],
        "left_alone": [{"name": left.name, "reason": left.reason} for left in outcome.left_alone],
        "warnings": list(outcome.warnings),
    }
