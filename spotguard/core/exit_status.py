"""What the exit status says, of all commands (docs/operations.md, "Exit status")."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    """Wrong usage or configuration."""
    NOTHING_TO_RESTORE = 3
    DAMAGED = 4
    """Damaged, or only objects without a manifest that look like checkpoints."""
    UNREACHABLE = 5
    """Denied or unreachable; for `status`, no daemon."""
    UNCOMMITTED = 6
    """`daemon` stopped with uncommitted checkpoints or loose files."""
    FENCED = 7
    INTERRUPTED = 75
    """`run`: CMD ended after a notice or SIGTERM; start it again."""
    CANNOT_START = 125
    """CMD could not be started."""
    KEYBOARD = 130
    """Ctrl-C, as shells count it."""
    BROKEN_PIPE = 141
    """Who read our output has gone, as shells count it."""
