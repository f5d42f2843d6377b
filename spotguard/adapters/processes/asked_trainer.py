"""The trainer as the main process of a systemd unit: systemd is asked for its number."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import structlog

from spotguard.adapters.processes.process_table import same_process_runs
from spotguard.adapters.processes.process_trainer import ProcessTrainer, found_process
from spotguard.ports.trainer import TrainerProcess

log = structlog.get_logger()

_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]{0,254}")

ANSWER_SECONDS = 3.0
"""An answer takes milliseconds; a manager that hangs must not hold up a drain."""

ASK_AGAIN_SECONDS = 60.0
"""How long a main process that lives is believed to be still the main one: asking costs a process each time."""


class AskedTrainer(ProcessTrainer):
    """The process whose number a command prints."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self._known: TrainerProcess | None = None
        self._asked_at = 0.0
        self._complaint: str | None = None

    @property
    def configured(self) -> bool:
        return True

    async def find(self) -> Sequence[TrainerProcess]:
        now = asyncio.get_running_loop().time()
        if self._known is not None and now - self._asked_at < ASK_AGAIN_SECONDS and same_process_runs(self._known):
            return (self._known,)
        self._known = None
        found, complaint = await self._ask()
        if complaint and complaint != self._complaint:
            log.warning("trainer.lookup_failed", command=" ".join(self._command), reason=complaint)
        self._complaint = complaint
        if found:
            self._known, self._asked_at = found[0], now
        return found

    async def _ask(self) -> tuple[tuple[TrainerProcess, ...], str | None]:
        try:
            answer, status = await _output_of(*self._command)
        except TimeoutError:
            return (), f"no answer within {ANSWER_SECONDS:g} s"
        except OSError as error:
            return (), f"{self._command[0]} cannot be run: {error.strerror}"
        number = answer.strip()
        if status != 0:
            return (), f"exit status {status}: {number[:200]}"
        if not re.fullmatch(r"[0-9]{1,10}", number):
            return (), f"not a process number: {number[:200]!r}"
        return found_process(int(number)) if int(number) > 0 else ((), None)


class SystemdTrainer(AskedTrainer):
    """`trainer.systemd_unit`: the unit's main process."""

    def __init__(self, unit: str) -> None:
        """Raises ValueError for what cannot be a unit's name."""
        if not _UNIT_NAME.fullmatch(unit):
            raise ValueError(f"trainer.systemd_unit: {unit!r} is no name of a unit")
        super().__init__("systemctl", "show", "--property", "MainPID", "--value", "--", unit)


async def _output_of(*command: str) -> tuple[str, int]:
    """What a command printed (both streams) and its exit status. Raises OSError, TimeoutError; ends with the command gone."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return output.decode("utf-8", "replace"), process.returncode or 0
