"""`spotguard run` from its first line to its exit status.

The process that was called stays small: it starts three others, passes signals on, and reaps. It loads neither the SDK nor an event loop,
has one thread, and may be PID 1. Its children:

* the restore, which says from where to go on and ends;
* the guard, a daemon; should it crash it is started again, and the command never notices;
* the command, in a process group of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import click

from spotguard.adapters.child_command import CannotStart, ChildCommand
from spotguard.adapters.message_link import Message, MessageLink
from spotguard.adapters.own_processes import OwnProcesses, fork_child
from spotguard.adapters.process_table import process_tree, was_started_by_a_hook
from spotguard.adapters.service_manager import SystemdNotifier
from spotguard.cli.exit_status import ExitStatus
from spotguard.cli.output import plain
from spotguard.cli.passing_on import PassingOn
from spotguard.core.placeholders import ResumePoint, fill
from spotguard.core.run_ending import RunEnd, command_status

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_NOT_FOR_CHILDREN = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
_GUARD_AGAIN_SECONDS = (0.5, 5.0, 30.0)
_GUARD_ENDS = (ExitStatus.DONE, ExitStatus.UNCOMMITTED, ExitStatus.FENCED)
_FINAL_TRIES = 3
_TOGETHER_SECONDS = 1.0
"""Signals that come so close after another are one wish: `timeout` sends its SIGTERM to the process and to its group."""
_STRAGGLER_SECONDS = 2.0
_GIVE_UP_SECONDS = 10.0
"""After the grace: for the guard to write its last words."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the other processes do; each gets its end of a link and returns an exit status."""

    restore: Callable[[MessageLink], int]
    guard: Callable[[MessageLink], int]


@dataclass(frozen=True, slots=True)
class RunOrder:
    command: Sequence[str]
    grace_seconds: float
    strict: bool
    again: bool
    environment: Mapping[str, str]
    """What the command gets beside ours and the point that it resumes from; what the user set already wins."""


@dataclass(slots=True)
class _Helper:
    """A forked process and our end of its link."""

    pid: int
    link: MessageLink


class RunCourse:
    def __init__(self, order: RunOrder, work: Work) -> None:
        self._order = order
        self._work = work
        self._manager = SystemdNotifier(os.environ)
        for name in _NOT_FOR_CHILDREN:
            os.environ.pop(name, None)
        self._own = OwnProcesses(PASSED_ON)
        self._restore: _Helper | None = None
        self._guard: _Helper | None = None
        self._guard_crashes = 0
        self._guard_due = inf
        self._guard_started = False
        self._guard_left: Message = {}
        self._point: ResumePoint | None = None
        self._checked = False
        self._noticed = False
        self._command: ChildCommand | None = None
        self._command_end: int | None = None
        self._ended_at = inf
        self._told_end = False
        self._interrupted = False
        """The command ended after a notice or after SIGTERM."""
        self._passing_on = PassingOn(self._say)
        self._terminated_at: float | None = None
        self._hurried_at: float | None = None
        self._kill_at = inf
        self._given_up = False
        self._outcome: int | None = None
        self._instead: int | None = None
        """The status when the command is not started."""
        self._manager_due = 0.0

    def run(self) -> int:
        """Returns the exit status when every process that was started has ended, but for what the command left behind."""
        try:
            self._restore = self._start(self._work.restore)
            while self._outcome is None:
                self._turn()
            return self._outcome
        finally:
            self._own.close()

    def _turn(self) -> None:
        now = time.monotonic()
        timers = (self._guard_due, self._kill_at, self._passing_on.due, self._manager_due, self._straggler_due(now))
        for number in self._own.wait(max(0.0, min(timers) - now)):
            self._on_signal(number)
        for helper in (self._restore, self._guard):
            for message in (helper.link.receive() or ()) if helper is not None else ():
                self._on_message(message)
        for change in self._own.changes():
            self._on_change(change.pid, change.wait_status, change.stopped_by)
        self._on_time(time.monotonic())

    # The helpers

    def _start(self, work: Callable[[MessageLink], int]) -> _Helper:
        ours, theirs = MessageLink.pair()
        sys.stdout.flush()
        sys.stderr.flush()
        others = [helper.link for helper in (self._restore, self._guard) if helper is not None]

        def in_child() -> None:
            self._own.close()
            for link in (ours, *others):
                link.close()

        pid = fork_child(lambda: work(theirs), in_child=in_child)
        theirs.close()
        self._own.watch(ours)
        return _Helper(pid, ours)

    def _start_guard(self) -> None:
        self._guard_due = inf
        self._guard = self._start(self._work.guard)
        if self._command is not None:
            self._guard.link.send({"started": self._command.pid, "again": False})
        if self._terminated_at is not None:
            self._guard.link.send({"terminated": self._passing_on.told})
        if self._told_end:
            self._tell_end()

    def _end_helper(self, helper: _Helper) -> None:
        for message in helper.link.receive() or ():
            self._on_message(message)
        self._own.forget(helper.link)
        helper.link.close()

    def _on_message(self, message: Message) -> None:
        if "restoring" in message and not self._guard_started and self._instead is None:
            self._guard_started = True
            self._start_guard()
        if "point" in message:
            self._point = ResumePoint(**message["point"])
        self._checked = self._checked or bool(message.get("checked"))
        self._noticed = bool(message.get("notice", self._noticed))
        if "told" in message:
            self._passing_on.note(message["told"], message["signal"])
        self._interrupted = self._interrupted or bool(message.get("interrupted"))
        if "left" in message:
            self._guard_left = message
        self._start_command()

    def _on_change(self, pid: int, wait_status: int, stopped_by: int | None) -> None:
        if stopped_by is not None:
            if self._command is not None and pid == self._command.pid:
                self._command.stopped(stopped_by)
            return
        if self._restore is not None and pid == self._restore.pid:
            restore = self._restore
            self._end_helper(restore)
            self._restore = None
            if self._instead is not None:
                self._settle()
            elif self._point is None or command_status(wait_status) != 0:
                self._leave(ExitStatus.INTERRUPTED if self._terminated_at is not None else command_status(wait_status))
        elif self._guard is not None and pid == self._guard.pid:
            guard = self._guard
            self._end_helper(guard)
            self._guard = None
            self._on_guard_end(command_status(wait_status))
        elif self._command is not None and pid == self._command.pid and self._command_end is None:
            self._command_end, self._ended_at = command_status(wait_status), time.monotonic()
            self._command.ended()
            self._interrupted = self._noticed or self._terminated_at is not None
            self._passing_on.due = inf
            self._kill_at = inf if self._terminated_at is None else self._terminated_at + self._order.grace_seconds + _GIVE_UP_SECONDS

    def _on_guard_end(self, status: int) -> None:
        if self._instead is not None:
            self._settle()
        elif self._command is None:  # it refused the run, or could not be assembled: it has said why
            self._leave(status or ExitStatus.FAILED)
        elif self._told_end and status in _GUARD_ENDS:
            self._conclude(status)
        elif self._told_end and (self._given_up or self._guard_crashes >= _FINAL_TRIES):
            self._conclude(None)
        else:
            delay = _GUARD_AGAIN_SECONDS[min(self._guard_crashes, len(_GUARD_AGAIN_SECONDS) - 1)]
            self._guard_crashes += 1
            self._guard_due = time.monotonic() + delay
            self._say(f"the guard ended with status {status}: training goes on, a new guard is started in {delay:g} s")

    def _leave(self, status: int) -> None:
        """The command is not started; the guard is told to end first."""
        self._instead = int(status)
        self._manager.stopping()
        if self._restore is not None:
            os.kill(self._restore.pid, signal.SIGTERM)
        if self._guard is not None:
            self._guard.link.send({"now": True})
        self._settle()

    def _settle(self) -> None:
        if self._restore is None and self._guard is None:
            self._outcome = self._instead

    # The command

    def _start_command(self) -> None:
        if self._point is None or not self._checked or self._command is not None or self._instead is not None:
            return
        if self._restore is not None:  # it is about to end; what it still says comes first
            return
        if self._terminated_at is not None or self._noticed:
            if self._noticed:
                self._say("the trainer was not started: this instance is about to be interrupted; start it again on the next machine")
            self._leave(ExitStatus.INTERRUPTED)
            return
        command = fill(self._order.command, self._point)
        try:
            self._command = ChildCommand(command, {**self._order.environment, **os.environ, **self._point.environment})
        except CannotStart as reason:
            self._say(f"cannot start {plain(command[0])}: {reason}; give the command after `--`, as a shell would find it")
            self._leave(ExitStatus.CANNOT_START)
            return
        self._manager.ready()
        if self._guard is not None:
            self._guard.link.send({"started": self._command.pid, "again": self._order.again})

    def _straggler_due(self, now: float) -> float:
        """When to look again whether what the command left behind has ended; until the end is told."""
        return inf if self._command_end is None or self._told_end else now + 0.1

    def _tell_end(self) -> None:
        """Tell the guard that the command has ended, once what it started has too, or is seen to stay."""
        if self._command_end is None or self._guard is None:
            return
        stragglers = [] if self._told_end else self._stragglers()
        if stragglers and time.monotonic() - self._ended_at < _STRAGGLER_SECONDS:
            return
        if stragglers:
            shown = ", ".join(f"{facts[0]} ({plain(facts[1][:80])})" for facts in stragglers[:3])
            self._say(f"the command has ended but left processes running, which are not guarded any more: {shown}")
        self._told_end = True
        finished = self._command_end == 0 and self._terminated_at is None and not stragglers
        self._guard.link.send({"ended": self._command_end, "finished": finished})

    def _stragglers(self) -> list[tuple[int, str]]:
        ours = {os.getpid(), *(process.pid for process in (process_tree(self._guard.pid) if self._guard else ()))}
        return [
            (facts.pid, facts.command)
            for facts in process_tree(os.getpid())
            if facts.pid not in ours and not facts.zombie and not was_started_by_a_hook(facts.pid)
        ]

    def _conclude(self, guard: int | None) -> None:
        assert self._command_end is not None
        for name, why in self._guard_left.get("left", ()):
            self._say(f"not saved: {plain(name)}: {plain(why)}")
        if guard == ExitStatus.FENCED:
            self._say(
                "another spotguard has taken this run over: what was trained here after that is not saved; do not start it here again"
            )
        elif guard is None:
            self._say("the guard failed again and again: what is saved is what `spotguard list` shows")
        elif guard != 0 and not self._guard_left.get("left"):
            self._say("loose files were left unsaved")
        if self._interrupted and guard == 0:
            self._say(f"interrupted; the newest checkpoint is {plain(str(self._guard_left.get('saved')))}: start again to go on from it")
        self._outcome = int(RunEnd(self._command_end, self._interrupted, guard).status(strict=self._order.strict))

    # Signals

    def _on_signal(self, number: int) -> None:
        if self._command is None:
            self._signal_before(number)
        elif self._command_end is not None:
            self._signal_after(number)
        elif number == signal.SIGTERM:
            self._terminate()
        elif number in (signal.SIGUSR1, signal.SIGUSR2):
            self._passing_on.ask(self._command, number)
        else:
            self._command.signal_group(number)  # as a terminal would

    def _signal_before(self, number: int) -> None:
        if number in (signal.SIGUSR1, signal.SIGUSR2) or self._instead is not None:
            return
        if number == signal.SIGTERM and self._terminated_at is None:
            self._terminated_at = time.monotonic()
        if self._restore is not None:
            os.kill(self._restore.pid, signal.SIGTERM if number == signal.SIGTERM else signal.SIGINT)
        else:
            self._leave(ExitStatus.INTERRUPTED if number == signal.SIGTERM else 128 + number)

    def _signal_after(self, number: int) -> None:
        """The command has ended, what is left is being flushed: SIGTERM hurries it, a second one, or Ctrl-C, ends it."""
        now = time.monotonic()
        if self._guard is None or number in (signal.SIGUSR1, signal.SIGUSR2):
            return
        hurried = self._hurried_at if self._hurried_at is not None else self._terminated_at
        if number != signal.SIGTERM:
            hurried = self._ended_at
        if hurried is None:
            self._hurried_at, self._kill_at = now, now + self._order.grace_seconds + _GIVE_UP_SECONDS
            self._guard.link.send({"hurry": True})
        elif now - hurried > _TOGETHER_SECONDS:
            self._say("ends now, with what is committed")
            self._guard.link.send({"now": True})

    def _terminate(self) -> None:
        """SIGTERM: the trainer hears of it, once; a second one adds nothing, the first has set the time."""
        assert self._command is not None
        now = time.monotonic()
        if self._terminated_at is not None:
            if now - self._terminated_at > _TOGETHER_SECONDS:
                self._say(f"the command was told to end; it has {max(0.0, self._kill_at - now):.0f} s until it is killed")
            return
        self._terminated_at, self._kill_at = now, now + self._order.grace_seconds
        self._manager.stopping()
        self._passing_on.ask(self._command, signal.SIGTERM)
        if self._guard is not None:
            self._guard.link.send({"terminated": self._passing_on.told})

    # Time

    def _on_time(self, now: float) -> None:
        if now >= self._guard_due:
            self._start_guard()
        if now >= self._kill_at:
            self._time_is_up(now)
        if now >= self._passing_on.due and self._command is not None:
            self._passing_on.follow_launcher(self._command, now)
        if now >= self._manager_due:
            self._manager_due = now + min(self._manager.watchdog_seconds or 10.0, 10.0)
            self._manager.watchdog()
            if self._command is None or self._terminated_at is not None:
                self._manager.extend_timeout(30.0)
        if not self._told_end:
            self._tell_end()
        self._start_command()

    def _time_is_up(self, now: float) -> None:
        self._kill_at = inf
        if self._command is not None and self._command_end is None:
            self._say(f"the command still runs {self._order.grace_seconds:g} s after SIGTERM: it is killed")
            self._command.signal_group(signal.SIGKILL)
            self._kill_at = now + _GIVE_UP_SECONDS
        elif self._guard is not None:
            self._given_up = True
            os.kill(self._guard.pid, signal.SIGKILL)

    @staticmethod
    def _say(line: str) -> None:
        click.echo(f"spotguard: {line}", err=True)
