"""What to do after a step: nothing, save and go on, or save and stop. For a loop of one's own; the callbacks are built on it."""

from __future__ import annotations

import os
import signal
import threading
from enum import IntEnum

from spotguard.training.agreement import highest_of_all_ranks
from spotguard.training.notice import Interruption, interruption

NOTICE_VARIABLE = "SPOTGUARD_NOTICE"
"""`spotguard run` sets it: where a notice is to be looked for."""
DAEMON_ADDRESS = "http://127.0.0.1:9477"


class Todo(IntEnum):
    """False as a condition when there is nothing to do."""

    NOTHING = 0
    SAVE = 1
    """Save a checkpoint and train on: the machine may go soon (a rebalance)."""
    STOP = 2
    """Save a checkpoint and leave the loop: the machine goes."""


class NoticeWatch:
    """Asks for a notice after each step.

        watch = NoticeWatch()
        for step in range(first, last):
            train(step)
            if todo := watch.after_step():
                save(step)
                if todo is Todo.STOP:
                    break

    With several ranks each of them must ask after every step: all get the same answer, that of the rank which knows most. Costs one
    `stat`, and with several ranks one small all-reduce on the CPU."""

    def __init__(self, place: str | os.PathLike[str] | None = None, *, token: str | None = None, catch_sigterm: bool = True) -> None:
        """`place`, `token`: see `interruption`. Without them: what `spotguard run` says, else the daemon's usual address.

        SIGTERM counts as a notice too, unless the script has a handler for it already, or this is not the main thread."""
        self._terminated = False
        self._catches = catch_sigterm and _may_catch()
        if self._catches:
            signal.signal(signal.SIGTERM, self._note)
        self._place = place if place is not None else os.environ.get(NOTICE_VARIABLE) or DAEMON_ADDRESS
        self._token = token
        self._done = Todo.NOTHING

    def after_step(self, asked: Todo = Todo.NOTHING) -> Todo:
        """What to do now. `asked` is what this rank has heard by itself, say by a signal. Each thing is said once for a notice; after a
        rebalance a later notice still stops."""
        if self._terminated:
            asked = Todo.STOP
        wanted = max(asked, wanted_by(interruption(self._place, token=self._token)))
        if wanted is Todo.NOTHING:
            self._forget()
        agreed = Todo(highest_of_all_ranks(wanted if wanted > self._done else Todo.NOTHING))
        self._done = max(self._done, agreed)
        if agreed is Todo.STOP and self._catches:  # from now on it ends the script, as it would have
            self._catches = False
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return agreed

    def _note(self, number: int, frame: object) -> None:
        self._terminated = True

    def _forget(self) -> None:
        """Nothing stands: the next rebalance asks for another save. A stop stays said, the loop is being left."""
        if self._done is Todo.SAVE:
            self._done = Todo.NOTHING


def _may_catch() -> bool:
    return threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


_MAINTENANCE_SECONDS = 120.0


def wanted_by(notice: Interruption | None) -> Todo:
    """What a notice asks of the training. A hibernated machine wakes up where it was, so there one saves and goes on."""
    if notice is None:
        return Todo.NOTHING
    if notice.kind in {"rebalance", "hibernate"}:
        return Todo.SAVE
    if notice.kind == "maintenance" and notice.seconds_left is not None and notice.seconds_left > _MAINTENANCE_SECONDS:
        return Todo.NOTHING
    return Todo.STOP
