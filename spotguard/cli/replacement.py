"""Turns this process into the trainer, with nothing of ours left in it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Collection, Sequence
from typing import NoReturn

from spotguard.cli.errors import CommandFailed
from spotguard.core.exit_status import ExitStatus
from spotguard.core.placeholders import ResumePoint, fill


def open_descriptors() -> frozenset[int]:
    """What this process was given: standard streams, and whatever a service manager or a shell passed on."""
    try:
        return frozenset(int(name) for name in os.listdir("/proc/self/fd"))
    except OSError:
        return frozenset(range(3))


def become(command: Sequence[str], point: ResumePoint, inherited: Collection[int]) -> NoReturn:
    """Replace this process by the command; descriptors that are not `inherited` stay behind. Raises CommandFailed (125)."""
    filled = fill(command, point)
    environment = {**os.environ, **point.environment}
    sys.stdout.flush()
    sys.stderr.flush()
    for fd in open_descriptors() - set(inherited):
        with contextlib.suppress(OSError):  # the one that listed them is closed already
            os.set_inheritable(fd, False)
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and what is ignored stays so across exec
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(filled[0], list(filled), environment)
    except (OSError, ValueError) as error:
        reason = "not found" if isinstance(error, FileNotFoundError) else str(getattr(error, "strerror", None) or error)
        raise CommandFailed(
            f"cannot start {filled[0]}: {reason}", "give the command after `--`, as a shell would find it", ExitStatus.CANNOT_START
        ) from error
