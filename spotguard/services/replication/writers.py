"""Did the writer of a checkpoint without a marker die too soon after its last write? (docs/layouts.md)"""

from __future__ import annotations

from collections.abc import Collection

from spotguard.core.checkpoint import LocalCheckpoint, Unit
from spotguard.ports.clock import Clock
from spotguard.ports.trainer import Trainer, TrainerProcess
from spotguard.ports.writer_watch import WriterWatch


class Writers:
    """Remembers who was seen writing what. Asked at every look while a checkpoint is being written."""

    def __init__(self, open_files: WriterWatch, trainer: Trainer, clock: Clock) -> None:
        self._open_files = open_files
        self._trainer = trainer
        self._clock = clock
        self._seen: dict[str, set[TrainerProcess]] = {}
        self._deaths: dict[TrainerProcess, float] = {}
        self._content: dict[str, object] = {}

    async def died(self, local: LocalCheckpoint, *, quiet_seconds: float, settle_seconds: float) -> bool:
        """Whether a process that was writing it died within `settle_seconds` of the last write."""
        now = self._clock.monotonic()
        if self._content.get(local.name) != local.content:
            self._content[local.name] = local.content
            self._seen.setdefault(local.name, set()).update(await self._writing(local))
        elif quiet_seconds < settle_seconds:
            self._seen.setdefault(local.name, set()).update(await self._open_files.writers([local.name]))
        last_write = now - quiet_seconds
        living = False
        soon = False
        for process in self._seen.get(local.name, ()):
            if process not in self._deaths and await self._open_files.died(process):
                self._deaths[process] = now
            death = self._deaths.get(process)
            living = living or (death is None)
            soon = soon or (death is not None and death - last_write < settle_seconds)
        return soon and not living

    def keep_only(self, names: Collection[str]) -> None:
        """Forget all others: they are committed or gone."""
        for name in [name for name in self._content if name not in names]:
            self._seen.pop(name, None)
            del self._content[name]
        if self._deaths:
            seen = set().union(*self._seen.values())
            self._deaths = {process: at for process, at in self._deaths.items() if process in seen}

    async def _writing(self, local: LocalCheckpoint) -> set[TrainerProcess]:
        found = set(await self._open_files.writers([local.name]))
        if self._trainer.configured and local.unit is not Unit.GROUP:
            found.update(await self._trainer.find())
        return found
