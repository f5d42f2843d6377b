"""Why a restore brought nothing. `str()` is one line for people; `exit_status` is the process's (docs/operations.md)."""

from __future__ import annotations


class RecoveryFailed(Exception):
    exit_status = 1

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


class NothingToRestore(RecoveryFailed):
    """There is no whole checkpoint, neither in the bucket nor here. A fresh start is right."""

    exit_status = 3

    def __init__(self, message: str, fix: str = "", *, what_is_there: str = "is empty") -> None:
        super().__init__(message, fix)
        self.what_is_there = what_is_there
        """What is to be said of the run: `is empty`."""


class OnlyDamaged(RecoveryFailed):
    """There are commits, and none of them can be restored."""

    exit_status = 4


class NotCommitted(RecoveryFailed):
    """There are objects that look like checkpoints and no manifest: another tool put them there."""

    exit_status = 4


class TargetBusy(RecoveryFailed):
    """What lies under the checkpoint's name is being written or used right now."""
