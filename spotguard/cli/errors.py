"""Every failure as one line for people and an exit status. The only place that knows both.

A command that has its own failure raises `CommandFailed`, or any exception with an `exit_status` (and, if it likes, a `fix`).
"""

from __future__ import annotations

import errno
from typing import NamedTuple

import click

from spotguard.core.exit_status import ExitStatus
from spotguard.ports.daemon_control import DaemonRefused, NoDaemon
from spotguard.ports.object_store import BucketMissing, StoreDenied, StoreUnavailable

_OS_FIXES = {
    errno.ENOSPC: "free some space and run the same command again",
    errno.EDQUOT: "free some space and run the same command again",
    errno.EACCES: "run as a user who may, or change its mode",
    errno.EPERM: "run as a user who may, or change its mode",
    errno.EROFS: "name a folder that can be written to",
}


class CommandFailed(Exception):
    """A command cannot do what it was asked. `str()` says what happened to what; `fix` what to do."""

    def __init__(self, message: str, fix: str = "", status: ExitStatus = ExitStatus.FAILED) -> None:
        super().__init__(message)
        self.fix = fix
        self.exit_status = status


class Failure(NamedTuple):
    lines: tuple[str, ...]
    """Without `spotguard: ` in front; empty when nothing is to be said."""
    status: int
    expected: bool = True
    """False: a mistake of ours, of which the traceback is of use."""


def failure_of(error: BaseException) -> Failure:
    """What to say and to return for what a command raised."""
    error = _innermost(error)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return Failure((), ExitStatus.KEYBOARD)
    if isinstance(error, BrokenPipeError):
        return Failure((), ExitStatus.BROKEN_PIPE)
    if isinstance(error, click.ClickException):
        return Failure((_usage_line(error),), ExitStatus.USAGE)
    status = _status_of(error)
    if status is not None:
        lines = getattr(error, "lines", None) or (_with_fix(str(error) or type(error).__name__, _fix_of(error)),)
        return Failure(tuple(map(one_line, lines)), status)
    if isinstance(error, OSError):
        return Failure((_with_fix(_os_words(error), _OS_FIXES.get(error.errno or 0, "")),), ExitStatus.FAILED)
    words = f"an unexpected {type(error).__name__}: {error}" if str(error) else f"an unexpected {type(error).__name__}"
    return Failure((_with_fix(words, "run it again with -v (or SPOTGUARD_DEBUG=1) to see where"),), ExitStatus.FAILED, expected=False)


def one_line(text: str) -> str:
    """The text without line breaks and control characters."""
    return "".join(mark if mark.isprintable() else " " for mark in " ".join(text.split()))


def _with_fix(message: str, fix: str) -> str:
    return one_line(f"{message}; {fix}" if fix else message)


def _fix_of(error: BaseException) -> str:
    if isinstance(error, DaemonRefused) and error.status in {401, 403}:
        return "give the daemon's token: set http.token or SPOTGUARD_HTTP__TOKEN"
    return str(getattr(error, "fix", ""))


def _status_of(error: BaseException) -> int | None:
    """The exit status of a failure that was foreseen; None for any other."""
    own = getattr(error, "exit_status", None)
    if isinstance(own, int):
        return own
    if isinstance(error, StoreDenied | StoreUnavailable | BucketMissing | NoDaemon | DaemonRefused):
        return ExitStatus.UNREACHABLE
    return ExitStatus.FAILED if _is_ours(error) else None


def _is_ours(error: BaseException) -> bool:
    """The ports name every failure that the edges may have; those carry a line for people."""
    return type(error).__module__.startswith("spotguard.ports.")


def _innermost(error: BaseException) -> BaseException:
    """Of a group, the one that matters most: an interrupt, then a failure that was foreseen, then the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_innermost(leaf) for leaf in error.exceptions]
    for leaf in leaves:
        if isinstance(leaf, KeyboardInterrupt):
            return leaf
    return next((leaf for leaf in leaves if _status_of(leaf) is not None), leaves[0])


def _usage_line(error: click.ClickException) -> str:
    message = one_line(error.format_message()).rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{message}; see '{context.command_path if context else 'spotguard'} --help'"


def _os_words(error: OSError) -> str:
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{error.strerror or error}{': ' + ' -> '.join(names) if names else ''}"
