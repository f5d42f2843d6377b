"""What the restore and the guard of `spotguard run` have reported to their parent."""

from __future__ import annotations

from dataclasses import dataclass

from spotguard.adapters.telling.message_link import Message
from spotguard.core.placeholders import ResumePoint
from spotguard.core.run_ending import RunEnd


@dataclass(slots=True)
class HelperReports:
    """Not frozen, because it remembers."""

    point: ResumePoint | None = None
    """From where to go on; None until the restore has said so."""
    checked: bool = False
    """The run may be written, as far as the guard can tell."""
    noticed: bool = False
    """A notice stands."""
    interrupted: bool = False
    """The command ended after a notice or after SIGTERM."""
    left: tuple[tuple[str, str], ...] = ()
    """What was not committed when the guard ended, by name, and why."""
    saved: str | None = None
    """The last commit."""
    writes: bool = True

    def take(self, message: Message) -> None:
        if "point" in message:
            self.point = ResumePoint(**message["point"])
        self.checked = self.checked or bool(message.get("checked"))
        self.noticed = bool(message.get("notice", self.noticed))
        self.interrupted = self.interrupted or bool(message.get("interrupted"))
        if "left" in message:
            self.left = tuple((str(name), str(why)) for name, why in message["left"])
            self.saved = message.get("saved")
            self.writes = bool(message.get("writes", True))

    def run_end(self, command: int, guard: int | None) -> RunEnd:
        """How the run ended, with the exit status of its command and what the guard's says of what was saved."""
        return RunEnd(command, self.interrupted, guard, self.left, self.saved, self.writes)
