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
import time
from contextlib import suppress
from math import inf

import click

from spotguard.adapters.processes.child_command import CannotStart, ChildCommand
from spotguard.adapters.processes.own_processes import OwnProcesses
from spotguard.adapters.processes.process_table import descendants
from spotguard.adapters.telling.message_link import Message
from spotguard.cli.guard_keeper import GuardKeeper
from spotguard.cli.heartbeat import Heartbeat
from spotguard.cli.helper_process import HelperProcess
from spotguard.cli.helper_reports import HelperReports
from spotguard.cli.output import plain
from spotguard.cli.passing_on import PassingOn
from spotguard.cli.run_order import RunOrder, Work
from spotguard.core.exit_status import ExitStatus
from spotguard.core.placeholders import fill
from spotguard.core.process_facts import ProcessFacts
from spotguard.core.run_ending import command_status

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_TOGETHER_SECONDS = 1.0  # `timeout` sends its SIGTERM to the process and to its group: one wish
_STRAGGLER_SECONDS = 2.0
_GIVE_UP_SECONDS = 10.0  # after the grace, for the guard to write its last words


class RunCourse:
    def __init__(self, order: RunOrder, work: Work) -> None:
        self._order = order
        self._work = work
        self._heartbeat = Heartbeat()
        self._own = OwnProcesses(PASSED_ON)
        self._restore: HelperProcess | None = None
        self._guard = GuardKeeper(self._own, work.guard)
        self._reports = HelperReports()
        self._command: ChildCommand | None = None
        self._command_end: int | None = None
        self._ended_at = inf
        self._told_end = False
        self._passing_on = PassingOn(self._say)
        self._terminated_at: float | None = None
        self._hurried_at: float | None = None
        self._kill_at = inf
        self._outcome: int | None = None
        self._unwanted: int | None = None
        """The status, when a signal came before the command was started."""
        self._instead: int | None = None
        """The status, when the command is not started."""

    def run(self) -> int:
        """Returns the exit status when every process that was started has ended, but for what the command left behind."""
        try:
            self._restore = HelperProcess.start(self._work.restore, self._own, [])
            while self._outcome is None:
                self._turn()
            return self._outcome
        finally:
            self._own.close()

    def _turn(self) -> None:
        now = time.monotonic()
        timers = (self._guard.due, self._kill_at, self._passing_on.due, self._heartbeat.due, self._straggler_due(now))
        for number in self._own.wait(max(0.0, min(timers) - now)):
            self._on_signal(number)
        for helper in (self._restore, self._guard.helper):
            for message in helper.messages() if helper is not None else ():
                self._on_message(message)
        for change in self._own.changes():
            self._on_change(change.pid, change.wait_status, change.stopped_by)
        self._on_time(time.monotonic())

    # The helpers

    def _start_guard(self) -> None:
        introduction: list[Message] = []
        if self._command is not None and self._command_end is None:
            introduction.append({"started": self._command.pid, "again": self._order.again})
        if self._terminated_at is not None:
            introduction.append({"terminated": self._passing_on.told})
        self._guard.start([self._restore] if self._restore is not None else [], introduction)
        if self._told_end:
            self._tell_end()

    def _end_helper(self, helper: HelperProcess) -> None:
        for message in helper.messages():
            self._on_message(message)
        helper.close(self._own)

    def _on_message(self, message: Message) -> None:
        if "restoring" in message and not self._guard.started and self._instead is None:
            self._start_guard()
        if "told" in message:
            self._passing_on.note(message["told"], message["signal"])
        self._reports.take(message)
        self._start_command()

    def _on_change(self, pid: int, wait_status: int, stopped_by: int | None) -> None:
        if stopped_by is not None:
            if self._command is not None and pid == self._command.pid:
                self._command.stopped(stopped_by)
            return
        if self._restore is not None and pid == self._restore.pid:
            self._end_helper(self._restore)
            self._restore = None
            if self._instead is not None:
                self._settle()
            elif self._reports.point is None or command_status(wait_status) != 0:
                self._leave(command_status(wait_status) if self._unwanted is None else self._unwanted)
        elif self._guard.helper is not None and pid == self._guard.pid:
            self._end_helper(self._guard.helper)
            self._guard.helper = None
            self._on_guard_end(command_status(wait_status))
        elif self._command is not None and pid == self._command.pid and self._command_end is None:
            self._command_end, self._ended_at = command_status(wait_status), time.monotonic()
            self._command.ended()
            self._reports.interrupted = self._reports.noticed or self._terminated_at is not None
            self._passing_on.due = inf
            self._kill_at = inf if self._terminated_at is None else self._terminated_at + self._order.grace_seconds + _GIVE_UP_SECONDS

    def _on_guard_end(self, status: int) -> None:
        if self._instead is not None:
            self._settle()
        elif self._command is None:  # it refused the run, or could not be assembled: it has said why
            self._leave(status or ExitStatus.FAILED)
        elif self._told_end and self._guard.is_final(status):
            self._conclude(self._guard.verdict(status))
        else:
            delay = self._guard.plan_again()
            self._say(f"the guard ended with status {status}: training goes on, a new guard is started in {delay:g} s")

    def _leave(self, status: int) -> None:
        """The command is not started; the guard is told to end first."""
        self._instead = int(status)
        self._kill_at = time.monotonic() + self._order.grace_seconds + _GIVE_UP_SECONDS  # a hung disk may hold up either
        self._heartbeat.manager.stopping()
        if self._restore is not None:
            os.kill(self._restore.pid, signal.SIGTERM)
        self._guard.send({"now": True})
        self._settle()

    def _settle(self) -> None:
        if self._restore is None and self._guard.helper is None:
            self._outcome = self._instead

    # The command

    def _start_command(self) -> None:
        point = self._reports.point
        ready = self._restore is None and self._reports.checked
        if point is None or not ready or self._command is not None or self._instead is not None:
            return
        if self._reports.noticed and self._unwanted is None:
            self._say("the trainer was not started: this instance is about to be interrupted; start it again on the next machine")
            self._unwanted = ExitStatus.INTERRUPTED
        if self._unwanted is not None:
            self._leave(self._unwanted)
            return
        command = fill(self._order.command, point)
        try:
            self._command = ChildCommand(command, {**self._order.environment, **os.environ, **point.environment})
        except CannotStart as reason:
            self._say(f"cannot start {plain(command[0])}: {reason}; give the command after `--`, as a shell would find it")
            self._leave(ExitStatus.CANNOT_START)
            return
        self._heartbeat.manager.ready()
        self._guard.send({"started": self._command.pid, "again": self._order.again})

    def _straggler_due(self, now: float) -> float:  # when to look again whether what the command left behind has ended
        return inf if self._command_end is None or self._told_end else now + 0.1

    def _tell_end(self) -> None:
        """Tell the guard that the command has ended, once what it started has too, or is seen to stay."""
        if self._command_end is None or self._guard.helper is None:
            return
        stragglers = [] if self._told_end else self._stragglers()
        if stragglers and time.monotonic() - self._ended_at < _STRAGGLER_SECONDS:
            return
        if stragglers:
            shown = ", ".join(f"{facts.pid} ({plain(facts.command[:80])})" for facts in stragglers[:3])
            self._say(f"the command has ended but left processes running, which are not guarded any more: {shown}")
        self._told_end = True
        finished = self._command_end == 0 and self._terminated_at is None and not stragglers
        self._guard.send({"ended": self._command_end, "finished": finished})

    def _stragglers(self) -> list[ProcessFacts]:
        return descendants(but_below=self._guard.pid)

    def _conclude(self, guard: int | None) -> None:
        assert self._command_end is not None
        end = self._reports.run_end(self._command_end, guard)
        for line in end.lines():
            self._say(plain(line))
        self._outcome = int(end.status(strict=self._order.strict))

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
        self._unwanted = ExitStatus.INTERRUPTED if number == signal.SIGTERM else 128 + number
        self._leave(self._unwanted)

    def _signal_after(self, number: int) -> None:
        """The command has ended, what is left is being flushed: SIGTERM hurries it, a second one, or Ctrl-C, ends it."""
        now = time.monotonic()
        if number in (signal.SIGUSR1, signal.SIGUSR2):
            return
        hurried = self._hurried_at if self._hurried_at is not None else self._terminated_at
        if number != signal.SIGTERM:
            hurried = self._ended_at
        if hurried is None:
            self._hurried_at, self._kill_at = now, now + self._order.grace_seconds + _GIVE_UP_SECONDS
            self._guard.send({"hurry": True})
        elif now - hurried > _TOGETHER_SECONDS:
            self._say("ends now, with what is committed")
            self._guard.send({"now": True})

    def _terminate(self) -> None:
        """SIGTERM: the trainer hears of it, once; a second one adds nothing, the first has set the time."""
        assert self._command is not None
        now = time.monotonic()
        if self._terminated_at is not None:
            if now - self._terminated_at > _TOGETHER_SECONDS:
                self._say(f"the command was told to end; it has {max(0.0, self._kill_at - now):.0f} s until it is killed")
            return
        self._terminated_at, self._kill_at = now, now + self._order.grace_seconds
        self._heartbeat.manager.stopping()
        self._passing_on.ask(self._command, signal.SIGTERM)
        self._guard.send({"terminated": self._passing_on.told})

    # Time

    def _on_time(self, now: float) -> None:
        if now >= self._guard.due:
            self._start_guard()
        if now >= self._kill_at:
            self._time_is_up(now)
        if now >= self._passing_on.due and self._command is not None:
            self._passing_on.follow_launcher(self._command, now)
        if now >= self._heartbeat.due:
            self._heartbeat.beat(now, takes_longer=self._command is None or self._terminated_at is not None)
        if not self._told_end:
            self._tell_end()
        self._start_command()

    def _time_is_up(self, now: float) -> None:
        self._kill_at = inf
        if self._command is not None and self._command_end is None:
            self._say(f"the command still runs {self._order.grace_seconds:g} s after SIGTERM: it is killed")
            for process in self._stragglers():  # ranks may have a session of their own
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, signal.SIGKILL)
            self._kill_at = now + _GIVE_UP_SECONDS
        else:
            if self._restore is not None:
                os.kill(self._restore.pid, signal.SIGKILL)
            self._guard.give_up()

    @staticmethod
    def _say(line: str) -> None:
        click.echo(f"spotguard: {line}", err=True)
