"""What a process that has children needs of the kernel: its signals as events, the ends of its children, orphans that become its own."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

_PR_SET_CHILD_SUBREAPER = 36


class ChildChange(NamedTuple):
    """A child has ended, or was stopped."""

    pid: int
    wait_status: int

    @property
    def stopped_by(self) -> int | None:
        return os.WSTOPSIG(self.wait_status) if os.WIFSTOPPED(self.wait_status) else None


class Descriptor(Protocol):
    def fileno(self) -> int: ...


class OwnProcesses:
    """Signals, children and messages as one stream of events, for a process with one thread. One per process; undone by `close`."""

    def __init__(self, numbers: Sequence[signal.Signals]) -> None:
        """`numbers` are caught, but for those that were ignored when we were started (nohup, a background job of a script)."""
        self._selector = selectors.DefaultSelector()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._selector.register(self._reader, selectors.EVENT_READ)
        self._caught = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, _noted) for number in [*self._caught, signal.SIGCHLD]}
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        _adopt_orphans()

    def watch(self, descriptor: Descriptor) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ)

    def forget(self, descriptor: Descriptor) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(descriptor)

    def wait(self, timeout_seconds: float | None) -> list[int]:
        """The numbers of the signals that came, in their order, SIGCHLD apart; returns at the latest after the timeout, and when a
        watched descriptor has something to read or a child has changed."""
        self._selector.select(timeout_seconds)
        try:
            return [number for number in self._reader.recv(4096) if number != signal.SIGCHLD]
        except BlockingIOError:
            return []

    @staticmethod
    def changes() -> Iterator[ChildChange]:
        """What has become of children, ours and adopted ones, since the last call; those that ended are reaped."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            yield ChildChange(pid, status)

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        for number, before in self._before.items():
            signal.signal(number, before)
        self._selector.close()
        self._reader.close()
        self._writer.close()


def fork_child(work: Callable[[], int], *, in_child: Callable[[], None]) -> int:
    """Start `work` in a forked process in a session of its own, so that neither Ctrl-C nor the end of a terminal reaches it; its result
    is the exit status. Only for a process with one thread, in which nothing runs that a fork would break. Returns the child's number."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        in_child()
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, 0)
        os.close(nowhere)
        status = work()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _noted(number: int, frame: object) -> None:
    """The number has been written to the wake-up socket; there is nothing else to do."""


def _adopt_orphans() -> None:
    """What the command leaves behind becomes our child: it is reaped, and we know of it. PID 1 has this without asking."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
