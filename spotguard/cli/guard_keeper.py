"""Keeps a guard beside the command: starts it, and starts it again when it crashes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from math import inf

from spotguard.adapters.processes.own_processes import OwnProcesses
from spotguard.adapters.telling.message_link import Message, MessageLink
from spotguard.cli.helper_process import HelperProcess
from spotguard.core.exit_status import ExitStatus

_AGAIN_SECONDS = (0.5, 5.0, 30.0)
_FINAL_TRIES = 3
_ENDS = (ExitStatus.DONE, ExitStatus.UNCOMMITTED, ExitStatus.FENCED)


class GuardKeeper:
    def __init__(self, own: OwnProcesses, work: Callable[[MessageLink], int]) -> None:
        self._own = own
        self._work = work
        self._crashes = 0
        self._given_up = False
        self.helper: HelperProcess | None = None
        self.started = False
        self.due = inf
        """Monotonic: when one is to be started again."""

    @property
    def pid(self) -> int | None:
        return self.helper.pid if self.helper is not None else None

    def start(self, others: Iterable[HelperProcess], introduction: Iterable[Message] = ()) -> None:
        self.due, self.started = inf, True
        self.helper = HelperProcess.start(self._work, self._own, others)
        for message in introduction:
            self.send(message)

    def send(self, message: Message) -> None:
        """A guard that is not there now is told in its introduction."""
        if self.helper is not None:
            self.helper.link.send(message)

    def give_up(self) -> None:
        """Its time is over, and it does not end by itself."""
        self._given_up = True
        if self.helper is not None:
            os.kill(self.helper.pid, signal.SIGKILL)

    def is_final(self, status: int) -> bool:
        """Whether one that ended with this status, after it was told to end, is not started again."""
        return status in _ENDS or self._given_up or self._crashes >= _FINAL_TRIES

    @staticmethod
    def verdict(status: int) -> int | None:
        """What a final status says of what was saved; None when it says nothing."""
        return status if status in _ENDS else None

    def plan_again(self) -> float:
        """Have one started after a while; the seconds until then."""
        delay = _AGAIN_SECONDS[min(self._crashes, len(_AGAIN_SECONDS) - 1)]
        self._crashes += 1
        self.due = time.monotonic() + delay
        return delay
