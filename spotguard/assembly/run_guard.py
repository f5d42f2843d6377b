"""The guard of `spotguard run`: a daemon in a process of its own beside the command, told by its parent how the command fares.

A process of its own, because an error here, be it a crash of a library or the lack of memory, must not end the training, and because the
parent, which may be PID 1 of a container, is then nothing but a few lines. When the parent is killed the command goes on, and so does this:
it guards until the command has ended, flushes and ends.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from spotguard.adapters.processes.command_trainer import CommandTrainer
from spotguard.adapters.processes.process_table import as_trainer, process_facts, same_process_runs
from spotguard.adapters.telling.message_link import Message, MessageLink
from spotguard.assembly.daemon import assembled, life_of
from spotguard.config.models import Config
from spotguard.ports.trainer import TrainerProcess
from spotguard.services.run.finish import record_finish, withdraw_finish
from spotguard.supervisor.ending import Leave
from spotguard.supervisor.guard import Guard
from spotguard.supervisor.life import Life, running

log = structlog.get_logger()

_LOOK_SECONDS = 0.5
_ERRANDS_SECONDS = 65.0
"""Longer than any hook may take."""
_WHY_LENGTH = 500
"""All that is left must fit into one message."""


async def guard_command(config: Config, parent: MessageLink) -> int:
    """Guard the run until the parent says how to end; returns as `run_daemon`. Raises NestedRun."""
    trainer = CommandTrainer(config.trainer.signal, lambda process, name: parent.send({"told": process.pid, "signal": name}))
    own = trainer if not config.trainer.targets else None
    async with assembled(config, trainer=own) as (guard, report):
        life = life_of(config, guard, report)
        errand = _Errand(guard, life, trainer, parent, config.interruption.shutdown_grace_seconds)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, errand.signalled)
        async with running(errand.listen, "parent"), running(errand.tell, "news for the parent"):
            end = await life.live()
        view = guard.replicator.view.value
        states = {checkpoint.name: checkpoint.why or checkpoint.state.value for checkpoint in view.checkpoints}
        names = view.left_unsaved if guard.settings.writes else ()
        left = [[name, states.get(name, "not committed")[:_WHY_LENGTH]] for name in names[:50]]
        saved = view.last_commit.name if view.last_commit else None
        parent.send({"left": left, "saved": saved, "writes": guard.settings.writes})
        return int(end)


@dataclass
class _Errand:
    """What the parent and the guard have to say to each other; not frozen, because it remembers."""

    guard: Guard
    life: Life
    trainer: CommandTrainer
    parent: MessageLink
    grace_seconds: float
    command: TrainerProcess | None = None
    orphaned: bool = False
    terminate_by: float | None = None
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def signalled(self) -> None:
        """A signal to us is meant for all of `spotguard run`: the parent, which has it too, says what to do. Without a parent it counts."""
        if self.orphaned:
            self.life.stop()

    async def listen(self) -> None:
        async for message in self.parent.messages():
            self._take(message)
        await self._go_on_alone()

    async def tell(self) -> None:
        """Tell the parent what it has to know at once: that the command may start, and that a notice stands."""
        await self.life.checked.wait()
        self.parent.send({"checked": True})
        told = False
        while True:
            if self._interrupted != told:
                told = self._interrupted
                self.parent.send({"notice": told})
            await self.guard.monitor.state.changed()

    def _take(self, message: Message) -> None:
        if "started" in message:
            self._adopt(message["started"])
            if message.get("again"):
                self._spawn(self._withdraw_finish())
        elif "terminated" in message:  # SIGTERM came: the command has been told, these processes of it by name
            self.trainer.spare(message["terminated"])
            self.terminate_by = self.guard.ports.clock.monotonic() + self.grace_seconds
            self.guard.lift_cap(True)
        elif "ended" in message:
            self.trainer.release()
            self._spawn(self._end(finished=bool(message["finished"])))
        elif "hurry" in message:
            self.life.leave(Leave(self.grace_seconds))
        elif "now" in message:
            self.life.leave(Leave(0.0))
            self.life.abandon()

    def _adopt(self, pid: int) -> None:
        facts = process_facts(pid)
        self.command = as_trainer(facts) if facts is not None else None
        self.trainer.adopt(pid)
        self._spawn(self.guard.trainer_watch.refresh())

    @property
    def _interrupted(self) -> bool:
        """Whether a notice stands, or a rehearsal that asked the trainer to stop."""
        current = self.guard.monitor.state.value.current
        return current is not None and (not current.drill or current.signals_trainer)

    async def _end(self, *, finished: bool) -> None:
        """The command has ended. After a notice the verdict comes first, with all that hangs on it."""
        if self._interrupted:
            self.parent.send({"interrupted": True})
            await self._verdict()
            self.life.leave(Leave(self.grace_seconds))
        elif self.terminate_by is not None:
            self.life.leave(Leave(max(0.0, self.terminate_by - self.guard.ports.clock.monotonic())))
        else:
            self.life.leave(Leave(None, self._record_finish if finished else None))

    async def _verdict(self) -> None:
        """Returns when it is said, recorded and the hooks have run; or when the notice was withdrawn."""
        drain, monitor = self.guard.drain.view, self.guard.monitor.state
        said = asyncio.ensure_future(drain.until(lambda view: view.interruption is not None and view.interruption.verdict is not None))
        withdrawn = asyncio.ensure_future(monitor.until(lambda state: state.current is None))
        try:
            await asyncio.wait({said, withdrawn}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            said.cancel()
            withdrawn.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_ERRANDS_SECONDS):
                await self.guard.drain.errands_done()

    async def _record_finish(self) -> None:
        guard, view = self.guard, self.guard.replicator.view.value
        if not guard.may_write():
            return
        checkpoint = view.last_commit.name if view.last_commit else None
        if await record_finish(guard.ports.store, guard.settings.keys, guard.ports.clock, host=guard.settings.host, checkpoint=checkpoint):
            await guard.ports.announcements.run_hook("on_finished", {"run": guard.settings.keys.url, "checkpoint": checkpoint})

    async def _withdraw_finish(self) -> None:
        await self.guard.claim.state.until(lambda state: state.may_write)
        await withdraw_finish(self.guard.ports.store, self.guard.settings.keys)

    async def _go_on_alone(self) -> None:
        """The parent has gone without a word. Its command may live on."""
        self.orphaned = True
        if self.command is not None and same_process_runs(self.command):
            log.error("run.orphaned", pid=self.command.pid, does="guards until the command has ended")
            while same_process_runs(self.command):  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(_LOOK_SECONDS)
        self.trainer.release()
        self.life.leave(Leave(self.grace_seconds))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
