"""What happens before the trainer is started: is it wanted, may it, and from where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from spotguard.assembly.restoring import WayBack, way_back
from spotguard.cli.options import Invocation
from spotguard.cli.output import age, count, plain, write_json
from spotguard.cli.progress import progress_sink
from spotguard.cli.restore_view import describe, document, tell_particulars
from spotguard.core.exit_status import ExitStatus
from spotguard.core.placeholders import ResumePoint
from spotguard.services.restore.recovery_errors import NothingToRestore


@dataclass(frozen=True, slots=True)
class Stay:
    """The trainer is not started."""

    status: ExitStatus


@dataclass(frozen=True, slots=True)
class Resume:
    invocation: Invocation
    stage: str | None
    to: str | None
    """Absolute; the watch root if None."""
    fresh: bool
    again: bool
    command: tuple[str, ...] = ()
    """What trains on."""

    async def decide(self, on_restore: Callable[[], None] = lambda: None) -> ResumePoint | Stay:
        """Restore, and say in one line on standard output what the trainer goes on from. `on_restore` is called when it is clear that
        the training is wanted and may go on here. Raises whatever a restore raises but NothingToRestore, which is a fresh start."""
        async with way_back(self.invocation.config, asks_metadata=True) as back:
            if not self.again and (when := await back.finished()) is not None:
                self._say(f"finished: {back.keys.url} was recorded as finished {when}; --again trains on", {"finished": when})
                return Stay(ExitStatus.DONE)
            if (notice := await back.notice()) is not None:
                return self._not_now(notice)
            on_restore()
            point = await (self._start_fresh(back) if self.fresh else self._restore(back))
            if (notice := await back.notice()) is not None:
                return self._not_now(notice)
            return point

    async def _restore(self, back: WayBack) -> ResumePoint:
        progress = progress_sink(as_json=self.invocation.json)
        try:
            outcome = await back.restore(
                None, stage=self.stage, to=self.to, patient=True, progress=progress, say=self._note, command=self.command
            )
        except NothingToRestore as nothing:
            self._say(f"starting fresh: {back.keys.url} {plain(nothing.what_is_there)}", {"fresh": True, "why": str(nothing)})
            return ResumePoint()
        self._say(f"resuming {describe(outcome)}", {"fresh": False, **document(outcome)})
        tell_particulars(outcome)
        return ResumePoint(outcome.path, outcome.stage, outcome.step)

    async def _start_fresh(self, back: WayBack) -> ResumePoint:
        found = await back.list(self.stage)
        if not found:
            self._say(f"starting fresh: {back.keys.url} is empty", {"fresh": True, "why": "is empty"})
            return ResumePoint()
        newest = found[0].key
        saved = age(datetime.fromtimestamp(newest.saved_at, UTC), datetime.now(UTC))
        ignored = f"{count(len(found), 'checkpoint')} ignored, the newest {plain(newest.name)} (saved {saved})"
        self._say(f"starting fresh: {back.keys.url} has {ignored}", {"fresh": True, "why": ignored})
        return ResumePoint()

    def _not_now(self, notice: str) -> Stay:
        click.echo(f"spotguard: the trainer was not started: {notice}; start it again on the next machine", err=True)
        return Stay(ExitStatus.INTERRUPTED)

    def _say(self, line: str, as_json: dict[str, object]) -> None:
        if self.invocation.json:
            write_json(as_json, one_line=True)
        else:
            click.echo(line)

    def _note(self, line: str) -> None:
        click.echo(f"spotguard: {plain(line)}", err=True)
