"""With which status `spotguard run` ends (docs/commands.md, "run")."""

from __future__ import annotations

from dataclasses import dataclass

from spotguard.core.exit_status import ExitStatus


@dataclass(frozen=True, slots=True)
class RunEnd:
    command: int
    """The command's exit status, or 128 + n for signal n."""
    interrupted: bool
    """It ended after a notice or after SIGTERM."""
    guard: int | None
    """How the guard ended: 0 all is committed, 6 something is not, 7 another daemon writes the run; None when it could not tell."""

    left: tuple[tuple[str, str], ...] = ()
    """(name, why) of the checkpoints that did not get out."""
    newest: str | None = None
    """The newest one that is committed."""
    writes: bool = True
    """False on a node that commits nothing because another one does."""

    def lines(self) -> list[str]:
        """What a person must know of it, besides the status."""
        said = [f"not saved: {name}: {why}" for name, why in self.left]
        if self.guard == ExitStatus.FENCED:
            said.append("another spotguard has taken this run over: what was trained here since is not saved; do not start it here again")
        elif self.guard is None:
            said.append("the guard failed again and again: what is saved is what `spotguard list` shows")
        elif self.guard != 0 and not self.left:
            said.append("loose files were left unsaved")
        elif not self.writes:
            said.append("this node commits nothing: node.rank 0 does")
        elif self.interrupted and self.guard == 0:
            saved = f"the newest checkpoint is {self.newest}" if self.newest else "no checkpoint was ever committed"
            said.append(f"interrupted; {saved}: start again to go on")
        elif self.command == 0 and self.newest is None:
            said.append("no checkpoint was ever committed in this run: check watch.dir")
        return said

    def status(self, *, strict: bool) -> int:
        """What the command itself failed with always counts, unless it was interrupted: then its status says nothing.

        A run that was taken over must not be started again (it would take the run back), so it is 7 and neither 0 nor 75."""
        if self.command != 0 and not self.interrupted:
            return self.command
        if self.guard == ExitStatus.FENCED:
            return ExitStatus.FENCED
        if strict and self.guard != 0:
            return ExitStatus.UNCOMMITTED
        return ExitStatus.INTERRUPTED if self.interrupted else 0


def command_status(wait_status: int) -> int:
    """The exit status of a `waitpid` status as shells count it: 128 + n for signal n."""
    number = wait_status & 0x7F
    return 128 + number if number else wait_status >> 8 & 0xFF
