"""Says on standard error what went wrong; the exit status is the caller's to return."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable

import click

from spotguard.cli.errors import failure_of
from spotguard.core.exit_status import ExitStatus


def reported(work: Callable[[], int], *, verbose: bool) -> int:
    """The exit status of `work`, whatever it raises."""
    try:
        return work()
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last frame of a process: it becomes a line and a status
        return report(error, verbose=verbose)


def report(error: BaseException, *, verbose: bool) -> int:
    """Print the error's lines (`verbose`: and the traceback of one that was not foreseen); its exit status."""
    failure = failure_of(error)
    with contextlib.suppress(OSError, ValueError):  # standard error is gone: the status is all that can be said
        if not failure.expected and verbose:
            traceback.print_exception(error)
        for line in failure.lines:
            click.echo(f"spotguard: {line}", err=True)
    if failure.status == ExitStatus.BROKEN_PIPE:
        detach_output()
    return failure.status


def detach_output() -> None:
    """Let the interpreter flush into nothing at its end, else it complains of the pipe once more."""
    with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
