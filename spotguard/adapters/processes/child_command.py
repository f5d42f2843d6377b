"""A command as a child in a process group of its own, with the terminal if there is one: what a shell does for a job.

With a group of its own the command gets each signal once: Ctrl-C from the terminal, whose foreground it is; everything else from us. A
signal to our own group (`timeout`, `kill %1`) does not reach it twice.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

_JOB_CONTROL = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}


class CannotStart(Exception):
    """The command could not be started. `str()` says why."""


class ChildCommand:
    """Reaped by whoever started it: it calls `stopped` and `ended` with what `waitpid` told."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it, found as a shell would find it, with standard streams and whatever else we were given. Raises CannotStart."""
        self._terminal = _controlling_terminal()
        self._our_group = os.getpgrp()
        try:
            self._process = subprocess.Popen(
                list(command),
                env=dict(environment),
                process_group=0,
                close_fds=False,  # ours are closed by exec, those that a service manager gave us are for the command
                preexec_fn=self._take_terminal if self._terminal is not None else None,  # noqa: PLW1509 - no second thread runs here
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._close_terminal()
            reason = "not found" if isinstance(error, FileNotFoundError) else str(getattr(error, "strerror", None) or error)
            raise CannotStart(reason) from error
        self.pid = self._process.pid

    def signal(self, number: int) -> None:
        """To the command alone; nothing happens if it has ended."""
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)

    def signal_group(self, number: int) -> None:
        """To all that stayed in its process group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def stopped(self, by: int) -> None:
        """It was stopped. By the terminal: then we stop too, as a part of its job, and both go on when the job does."""
        if self._terminal is None or by not in _JOB_CONTROL:
            return
        self._hand_over(self.pid, self._our_group)
        os.killpg(self._our_group, by)  # returns when somebody lets us go on, or at once where nobody could
        self._hand_over(self._our_group, self.pid)
        self.signal_group(signal.SIGCONT)

    def ended(self) -> None:
        """It has ended and was reaped: the terminal is ours again."""
        self._process.returncode = 0  # else it would be waited for once more
        self._hand_over(self.pid, self._our_group)
        self._close_terminal()

    def _take_terminal(self) -> None:
        """In the child, before it becomes the command, so that it never runs without the terminal."""
        self._hand_over(self._our_group, os.getpid())

    def _hand_over(self, from_group: int, to_group: int) -> None:
        """Make a group the terminal's foreground if the other one is it now."""
        if self._terminal is None:
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
        try:
            if os.tcgetpgrp(self._terminal) == from_group:
                os.tcsetpgrp(self._terminal, to_group)
        except OSError:
            return  # the terminal has gone
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _close_terminal(self) -> None:
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None


def _controlling_terminal() -> int | None:
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return None
