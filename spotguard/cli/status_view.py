"""The daemon's status as a person reads it: the verdict first, then problems with their fixes, then the rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from spotguard.cli.output import age, duration, plain, size
from spotguard.core.checkpoint import CheckpointState
from spotguard.core.headline import Headline, headline
from spotguard.core.problem import Severity
from spotguard.core.status import CheckpointStatus, Status

_STYLES = {"good": "bold white on green", "caution": "bold black on yellow", "bad": "bold white on red"}
_STATES = {
    CheckpointState.COMMITTED: "green",
    CheckpointState.UPLOADING: "cyan",
    CheckpointState.COMPLETE: "yellow",
    CheckpointState.WRITING: "blue",
    CheckpointState.FAILED: "red",
    CheckpointState.VANISHED: "red",
    CheckpointState.SUPERSEDED: "dim",
}
_ROWS = 12


def status_view(status: Status, now: datetime, *, boxed: bool = True) -> RenderableType:
    """All of it. `boxed`: with lines around the table, for a terminal."""
    parts: list[RenderableType] = [headline_text(headline(status, now)), Text()]
    parts += _problems(status, now)
    parts += _interruption(status, now)
    parts.append(_facts(status, now))
    parts += _checkpoints(status, now, boxed)
    return Group(*parts)


def headline_text(line: Headline) -> Text:
    return Text.assemble((f" {line.word} ", _STYLES[line.level]), " ", line.sentence)


def _problems(status: Status, now: datetime) -> Iterator[RenderableType]:
    for problem in status.problems:
        style = "bold red" if problem.severity is Severity.ERROR else "bold yellow"
        yield Text.assemble(
            (f"{problem.severity.value} {problem.code.value}", style), f" ({age(problem.since, now)}): {plain(problem.message)}"
        )
        if problem.fix:
            yield Text(f"  fix: {plain(problem.fix)}")
    if status.problems:
        yield Text()


def _interruption(status: Status, now: datetime) -> Iterator[RenderableType]:
    notice = status.interruption
    if notice is None:
        return
    drill = " (a drill)" if notice.drill else ""
    line = Text.assemble((f"interruption: {notice.kind.value}{drill}", "bold"), f", seen {age(notice.detected_at, now)}")
    if notice.deadline is not None and notice.verdict is None:
        left = (notice.deadline - now).total_seconds()
        line.append(f", deadline in {duration(left)}" if left > 0 else f", deadline passed {duration(-left)} ago", "bold red")
    if notice.verdict is not None:
        line.append(f", verdict: {notice.verdict}", "bold green" if notice.verdict == "safe" else "bold red")
    yield line
    for entry in notice.given_up:
        yield Text(f"  given up: {plain(entry.name)}: {plain(entry.why)}")
    yield Text()


def _facts(status: Status, now: datetime) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _fact_rows(status, now):
        table.add_row(name, Text(value))
    return table


def _fact_rows(status: Status, now: datetime) -> Iterator[tuple[str, str]]:
    if status.run:
        yield "run", f"{plain(status.watch_dir)} -> {plain(status.run)}"
    yield "daemon", _daemon(status, now)
    yield "exposure", _exposure(status)
    upload = status.upload
    yield (
        "upload",
        f"{size(upload.bytes_per_second)}/s, {size(upload.bytes_total)} in all, {upload.retries_total} retried",
    )
    yield "trainer", _trainer(status, now)
    yield "store", _reachable(status.store.reachable, status.store.error)
    yield (
        "metadata",
        "off: no interruption would be seen" if status.imds.mode == "off" else _reachable(status.imds.reachable, status.imds.error),
    )
    instance = [part for part in (status.instance.id, status.instance.type, status.instance.zone, status.instance.lifecycle) if part]
    if instance:
        yield "instance", plain(", ".join(instance))


def _daemon(status: Status, now: datetime) -> str:
    words = f"{status.state.value} for {duration((now - status.since).total_seconds())}, version {plain(status.version)}"
    return words if not status.claim.waiting_for else f"{words}; sends nothing until {plain(status.claim.waiting_for)}"


def _exposure(status: Status) -> str:
    exposure, parts = status.exposure, []
    since = exposure.seconds_since_last_commit
    parts.append("no commit yet" if since is None else f"last commit {duration(since)} ago")
    if exposure.steps_at_risk_estimate is not None:
        parts.append(f"about {exposure.steps_at_risk_estimate:.0f} steps at risk")
    if exposure.save_seconds_estimate is not None:
        parts.append(f"a save takes {duration(exposure.save_seconds_estimate)}")
    if exposure.flush_seconds_estimate is not None:
        parts.append(f"sending one takes {duration(exposure.flush_seconds_estimate)}")
    if exposure.fits_in_notice is not None:
        parts.append("fits into a notice" if exposure.fits_in_notice else "does not fit into a notice")
    return ", ".join(parts)


def _trainer(status: Status, now: datetime) -> str:
    trainer = status.trainer
    if not trainer.configured:
        return "nobody is signalled at a notice (no trainer target is configured)"
    if not trainer.found and trainer.signalled_at is not None:
        return f"has ended, signalled {age(trainer.signalled_at, now)}"
    if not trainer.found:
        return "NOT FOUND: nobody would be signalled at a notice" if trainer.signal else "not found"
    pids = "PID " + ", ".join(map(str, trainer.pids)) if trainer.pids else "found"
    if trainer.signalled_at is not None:
        return f"{pids}, signalled {age(trainer.signalled_at, now)}"
    return f"{pids}, gets {plain(trainer.signal)} at a notice" if trainer.signal else f"{pids}, not signalled (trainer.signal is not set)"


def _reachable(reachable: bool | None, error: str | None) -> str:
    if reachable is None:
        return "not asked yet"
    words = ("answers, BUT REFUSES" if error else "reachable") if reachable else "NOT REACHABLE"
    return f"{words}: {plain(error)}" if error else words


def _checkpoints(status: Status, now: datetime, boxed: bool) -> Iterator[RenderableType]:
    if not status.checkpoints:
        return
    newest = sorted(status.checkpoints, key=_newness, reverse=True)
    table = Table(box=box.SIMPLE_HEAD if boxed else None, pad_edge=False)
    for title in ("checkpoint", "state", "size", "sent", "saved", "committed"):
        table.add_column(title, justify="right" if title in {"size", "sent"} else "left", no_wrap=title != "checkpoint", overflow="fold")
    for checkpoint in newest[:_ROWS]:
        table.add_row(*_row(checkpoint, now))
    yield table
    if len(newest) > _ROWS:
        yield Text(f"and {len(newest) - _ROWS} older on disk")


def _newness(checkpoint: CheckpointStatus) -> tuple[float, int]:
    """What is still being written has no time yet and comes first."""
    saved = checkpoint.saved_at.timestamp() if checkpoint.saved_at else float("inf")
    return saved, -1 if checkpoint.step is None else checkpoint.step


def _row(checkpoint: CheckpointStatus, now: datetime) -> tuple[Text, ...]:
    sent = f"{min(100, 100 * checkpoint.uploaded_bytes // checkpoint.bytes)} %" if checkpoint.bytes else "-"
    state = Text(checkpoint.state.value, _STATES[checkpoint.state])
    if checkpoint.why and checkpoint.state is not CheckpointState.COMMITTED:
        state.append(f" ({plain(checkpoint.why)})", "default")
    return (
        Text(plain(checkpoint.name)),
        state,
        Text(size(checkpoint.bytes)),
        Text(sent),
        Text(age(checkpoint.saved_at, now) if checkpoint.saved_at else "-"),
        Text(age(checkpoint.committed_at, now) if checkpoint.committed_at else "-"),
    )
