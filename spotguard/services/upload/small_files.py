"""The many small files of a checkpoint: a row of them at a time, one request each, without a turn of the event loop for every one.

What is in any way out of the ordinary is left to the way that every other file takes, which says why or tries again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from spotguard.core.checkpoint import LocalFile
from spotguard.ports.bulk_send import MOST_BYTES, BulkSend, Offered
from spotguard.ports.part_transfer import SentObject
from spotguard.services.upload.errand import Errand
from spotguard.services.upload.part_slots import PartSlots
from spotguard.services.upload.throughput import Throughput

_ROW_FILES = 64
_IN_VAIN = 3
"""After as many rows of which nothing came, the store is taken for one that does not answer as rows want it: the next _RESTS go alone."""
_RESTS = 100


class _NotAll(Exception):
    """Some of a row did not arrive."""


def rows(files: Iterable[LocalFile]) -> Iterator[tuple[LocalFile, ...]]:
    """In the given order: small files in rows, any other alone."""
    row: list[LocalFile] = []
    for file in files:
        if not 0 < file.stat.size <= MOST_BYTES:
            yield (file,)
            continue
        row.append(file)
        if len(row) == _ROW_FILES:
            yield tuple(row)
            row = []
    if row:
        yield tuple(row)


class SmallFiles:
    def __init__(self, bulk: BulkSend, slots: PartSlots, throughput: Throughput) -> None:
        self._bulk = bulk
        self._slots = slots
        self._throughput = throughput
        self._in_vain = 0
        self._rests = 0
        self._turns = PartSlots(1)
        """Of rows: each is one thread's work, and several threads would spend more on handing the interpreter's lock on than on files."""

    async def send(self, errands: Sequence[Errand]) -> Sequence[SentObject | None]:
        """Send these small files, all for the same checkpoint. In order: the object, which holds one version of the file, or None for one
        that has to be sent by itself. Cancelled: nothing reads the files any more."""
        size = sum(errand.size for errand in errands)
        async with self._turns.slot(size, errands[0].rank):
            if self._rests:
                self._rests -= 1
                return [None] * len(errands)
            answers = await self._send(errands, size)
            self._in_vain = 0 if any(answers) else self._in_vain + 1
            if self._in_vain == _IN_VAIN:
                self._in_vain, self._rests = 0, _RESTS
        self._throughput.sent(sum(answer.size for answer in answers if answer is not None))
        return [answer if errand.held.unchanged() else None for errand, answer in zip(errands, answers, strict=True)]

    async def _send(self, errands: Sequence[Errand], size: int) -> Sequence[SentObject | None]:
        answers: Sequence[SentObject | None] = ()
        async with self._slots.slot(size, errands[0].rank):
            with suppress(_NotAll), self._throughput.sending(size):
                offered = [Offered(errand.key, errand.body) for errand in errands]
                answers = await self._bulk.send_all(offered, metadata=errands[0].metadata)
                if None in answers:
                    raise _NotAll  # nothing is learned of the link from it
        return answers
