"""Which of the loose files that a look has found want to be sent now."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from spotguard.core.checkpoint import LocalFile, LooseFolder
from spotguard.core.loose import LooseFile, is_due
from spotguard.core.loose_index import LooseIndex, Sent, is_same, sent
from spotguard.core.packed_rows import Row, split

_IN_ONE_PASS = 10_000
"""Then the index is written, so that a first pass over very many is not for nothing if it is cut off."""


@dataclass(frozen=True, slots=True)
class LooseKnowledge:
    """What is known of the loose files before they are gone through. More may be sent meanwhile: what then counts as due is not."""

    index: LooseIndex | None
    """What is in the bucket; None while that is not known."""
    settled: Mapping[str, object]
    """Folders with nothing to send, and what they looked like then: they are not gone through until they look different."""
    resting: Mapping[str, float]
    """Until when (monotonic) a file that could not be sent is left alone."""
    now: float
    """Monotonic."""
    loose_seconds: float
    urgent: bool
    """Whether whatever changed is due, as in a drain."""


@dataclass(frozen=True, slots=True)
class LooseSurvey:
    """What must be sent now: everything, before the index of the bucket is known."""

    due: tuple[LocalFile, ...]
    """Oldest change first. At most so many that they, and what is known of them, are a small part of all."""
    pending: int
    """How many there are in all."""
    settled: Mapping[str, object]
    changed: frozenset[str]
    """Files that could not be sent, and are still not in the bucket as they are."""
    known: LooseKnowledge
    """With what this was found out."""

    @property
    def urgent(self) -> bool:
        """Whether whatever changed was due."""
        return self.known.urgent

    @property
    def is_all(self) -> bool:
        """Whether `due` is all there is."""
        return len(self.due) == self.pending


def still_due(files: Iterable[LocalFile], known: LooseKnowledge) -> list[tuple[LocalFile, LooseFile | None]]:
    """Of files that a survey found due, those that still are, each with what is in the bucket of it: others were sent since."""
    rows = {folder: _rows(folder, known) for folder in {split(file.path)[0] for file in files}}
    changed = _changed(files, rows)
    return [(file, None if last is None else last.file) for file, last in changed if not _rests(file, known) and _is_due(file, last, known)]


def survey(folders: Iterable[LooseFolder], known: LooseKnowledge) -> LooseSurvey:
    course = _Course(known)
    due = heapq.nsmallest(_IN_ONE_PASS, course.due(folders), key=lambda file: file.stat.mtime_ns)
    return LooseSurvey(tuple(due), course.pending, course.settled, frozenset(course.changed), known)


@dataclass(slots=True)
class _Course:
    """One survey."""

    known: LooseKnowledge
    pending: int = 0
    settled: dict[str, object] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)

    def due(self, folders: Iterable[LooseFolder]) -> Iterator[LocalFile]:
        """To be gone through to its end."""
        for folder in folders:
            state = folder.state
            if self.known.index is not None and self.known.settled.get(folder.path) == state:
                self.settled[folder.path] = state
                continue
            is_settled = self.known.index is not None
            for file, last in _changed(folder.files(), {folder.path: _rows(folder.path, self.known)}):
                is_settled = False
                if file.path in self.known.resting:
                    self.changed.add(file.path)
                if not _rests(file, self.known) and _is_due(file, last, self.known):
                    self.pending += 1
                    yield file
            if is_settled:
                self.settled[folder.path] = state


def _rows(folder: str, known: LooseKnowledge) -> Mapping[str, Row]:
    return known.index.known_in(folder) if known.index is not None else {}


def _changed(files: Iterable[LocalFile], rows: Mapping[str, Mapping[str, Row]]) -> Iterator[tuple[LocalFile, Sent | None]]:
    """Those that are not in the bucket as they are, and what is. `rows`: of their folders."""
    for file in files:
        folder, name = split(file.path)
        row = rows[folder].get(name)
        if row is None or not is_same(row, file.stat.size, file.stat.mtime_ns):
            yield file, None if row is None else sent(folder, row)


def _rests(file: LocalFile, known: LooseKnowledge) -> bool:
    return known.resting.get(file.path, known.now) > known.now


def _is_due(file: LocalFile, last: Sent | None, known: LooseKnowledge) -> bool:
    sent_ago = None if last is None or last.at is None else known.now - last.at
    there = None if last is None else last.file
    return is_due(file.stat, there, sent_ago=sent_ago, loose_seconds=known.loose_seconds, urgent=known.urgent)
