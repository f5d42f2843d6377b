"""The learned file set: what the whole checkpoint before had, this one must have too (docs/layouts.md).

It is the only way to know from outside what a run saves: the model alone or its optimizer as well, a scaler, an adapter, how many ranks.
Steps are generalised, so that two checkpoints of one run can be compared; the ranks are not, so that each must have written its own.

What a run saves may change for good: fewer ranks on a smaller machine, no optimizer any more. Two saves in a row that are alike and that
nobody touches tell that; one alone may be torn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spotguard.core.checkpoint import LocalCheckpoint, generalised, stage_of
from spotguard.core.layouts.ranks import kind_of


def kinds(paths: Iterable[str]) -> frozenset[str]:
    """Which kinds of files these are."""
    return frozenset(kind_of(path) for path in paths)


def paths_of(checkpoint: LocalCheckpoint) -> tuple[str, ...]:
    """Its files and links."""
    return (*(file.path for file in checkpoint.files), *(path for path, _ in checkpoint.links))


def lacking(
    checkpoint: LocalCheckpoint, predecessor: tuple[str, ...] | None, *, but: Callable[[str], bool] = lambda path: False
) -> str | None:
    """A kind of file that the predecessor had and that is not there, but for those that `but` says; None when nothing lacks."""
    if predecessor is None:
        return None
    wanted = kinds(path for path in predecessor if not but(path))
    return min(wanted - kinds(paths_of(checkpoint)), default=None)


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The file set of an earlier checkpoint, to hold another one of its stage and layout against."""

    name: str
    saved_ns: int
    paths: tuple[str, ...]


_Sets = dict[tuple[str, str], dict[str, Predecessor]]
_KEPT = 3


class Predecessors:
    """Per stage and layout, the file sets of the newest checkpoints seen. Not frozen: it learns."""

    def __init__(self) -> None:
        self._whole: _Sets = {}
        self._left_alone: _Sets = {}

    def add(self, name: str, layout: str, saved_ns: int, paths: Iterable[str]) -> None:
        """This one was whole."""
        _keep(self._whole, layout, Predecessor(name, saved_ns, tuple(paths)))

    def note(self, checkpoint: LocalCheckpoint) -> None:
        """This one is sound and nobody touches it, but it is not known to be whole."""
        _keep(self._left_alone, checkpoint.layout, Predecessor(checkpoint.name, checkpoint.saved_ns, paths_of(checkpoint)))

    def of(self, checkpoint: LocalCheckpoint) -> tuple[str, ...] | None:
        """The paths that this checkpoint is held against; None when it is the first of its kind."""
        whole = max(_relatives(self._whole, checkpoint), key=lambda p: p.saved_ns, default=None)
        newer = [other for other in _relatives(self._left_alone, checkpoint) if whole is None or other.saved_ns > whole.saved_ns]
        mine = kinds(paths_of(checkpoint)) if newer else frozenset()
        alike = next((other for other in newer if kinds(other.paths) == mine), whole)
        return None if alike is None else alike.paths


def _keep(sets: _Sets, layout: str, one: Predecessor) -> None:
    known = sets.setdefault((stage_of(one.name), layout), {})
    known[one.name] = one
    while len(known) > _KEPT:
        del known[min(known.values(), key=lambda p: p.saved_ns).name]


def _relatives(sets: _Sets, checkpoint: LocalCheckpoint) -> list[Predecessor]:
    known = sets.get((checkpoint.stage, checkpoint.layout), {})
    return [p for p in known.values() if p.name != checkpoint.name and generalised(p.name) == generalised(checkpoint.name)]
