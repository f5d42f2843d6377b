"""Does the trainer write its checkpoints somewhere else than we look? Found by the files that it has open for writing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from spotguard.core.problem import ProblemCode, Severity
from spotguard.core.wrong_folder import Resemblance, output_folder, resemblance
from spotguard.ports.clock import Clock
from spotguard.ports.trainer import TrainerProcess
from spotguard.ports.writer_watch import WriterWatch, WrittenFile
from spotguard.services.problem_board import ProblemBoard
from spotguard.services.published import Published
from spotguard.services.replication.replication_view import ReplicationView

_EVERY_SECONDS = 5.0
_APART_SECONDS = 60.0
"""Files of weights count when one was seen twice this far apart: a trainer that saves does so again and again."""
_CLOCKS_SECONDS = 5.0


class FolderWatch:
    """Asked every few seconds: what is open only while it is written is seen by chance, and the next save is another chance."""

    def __init__(
        self,
        writers: WriterWatch,
        *,
        view: Published[ReplicationView],
        trainers: Callable[[], tuple[TrainerProcess, ...]],
        problems: ProblemBoard,
        clock: Clock,
        watch_dir: str,
    ) -> None:
        self._writers = writers
        self._view = view
        self._trainers = trainers
        self._problems = problems
        self._clock = clock
        self._watch_dir = watch_dir
        self._weights_seen_at: float | None = None
        self._about: tuple[TrainerProcess, ...] = ()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Raise `wrong-folder`, or clear it once the trainer is another one or saves under the watch root."""
        trainers = self._trainers()
        if trainers != self._about:
            self._about, self._weights_seen_at = trainers, None
            self._problems.clear(ProblemCode.WRONG_FOLDER)
        if not trainers or self._saves_here(trainers):
            self._problems.clear(ProblemCode.WRONG_FOLDER)
            return
        if self._problems.stands(ProblemCode.WRONG_FOLDER):
            return
        written = await self._writers.written_outside(trainers, lambda path: resemblance(path) is not Resemblance.NONE)
        if proof := self._proof(sorted(written)):
            self._raise(proof)

    def _saves_here(self, trainers: tuple[TrainerProcess, ...]) -> bool:
        """Whether a checkpoint under the watch root was written since these trainers started."""
        view, since = self._view.value, min(process.started for process in trainers) - _CLOCKS_SECONDS
        saved = [checkpoint.saved_at.timestamp() for checkpoint in view.checkpoints if checkpoint.saved_at is not None]
        return bool(view.being_written) or max(saved, default=0.0) >= since

    def _proof(self, written: list[WrittenFile]) -> WrittenFile | None:
        for file in written:
            if resemblance(file.path) is Resemblance.CHECKPOINT:
                return file
        if not written:
            return None
        now = self._clock.monotonic()
        if self._weights_seen_at is None:
            self._weights_seen_at = now
        return written[0] if now - self._weights_seen_at >= _APART_SECONDS else None

    def _raise(self, file: WrittenFile) -> None:
        self._problems.raise_(
            ProblemCode.WRONG_FOLDER,
            f"the trainer (PID {file.pid}) writes {file.path}, which is not under {self._watch_dir}: nothing of it is saved",
            f"set watch.dir to {output_folder(file.path)}, or have the trainer write to {self._watch_dir}",
            Severity.ERROR,
        )
