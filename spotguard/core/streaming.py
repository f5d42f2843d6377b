"""Sending a file while it is still being written: which parts may go, and whether it pays (docs/architecture.md).

A part that has gone is believed only when the finished file has its checksum, so nothing here can do harm: it can only cost bytes.
"""

from __future__ import annotations

from spotguard.core.checkpoint import LocalFile, generalised
from spotguard.core.part_cut import MAX_PARTS
from spotguard.core.temporary import looks_temporary

LEAST_PARTS = 2
"""Of a smaller file most would be left when it is closed."""
_BEARABLE_LOSS = 4
"""Up to a quarter sent in vain is worth it: a header that is patched at the end costs one part."""


def is_due(number: int, filled: int, step: int) -> bool:
    """Whether part `number` may go, where the file has no hole before `filled`: a whole part must lie behind it.

    Writers that go back mostly go back a little."""
    return number < MAX_PARTS and (number + LEAST_PARTS - 1) * step <= filled


def outgrows(size: int, step: int) -> bool:
    """Whether so many parts of this size cannot make the file: it has to be cut anew."""
    return size > MAX_PARTS * step


def paid(sent: int, lost: int) -> bool:
    """Whether sending `sent` bytes ahead was worth it, of which `lost` had to be sent again."""
    return lost * _BEARABLE_LOSS <= sent


def kind_of(source: str) -> str:
    """What the files of all steps have in common that are written by the same code: their path with its numbers left out."""
    return generalised(source)


def may_grow_whole(file: LocalFile) -> bool:
    """Whether a file of this name is what it will be: one that looks temporary gets another name, if any."""
    return not looks_temporary(file.path) and not looks_temporary(file.source)
