"""The nouns: what lies on disk, and what of it is one checkpoint.

Values only. Paths are POSIX text relative to the watch root unless a field says otherwise; sizes are bytes; times that end
in `_ns` are nanoseconds since the epoch as the filesystem reports them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

FOLDER_REASON = "a folder "
"""How a reason in `Tree.unreadable` begins when the entry is a folder."""


class Unit(StrEnum):
    """What a framework saves as one checkpoint."""

    DIRECTORY = "directory"
    FILE = "file"
    GROUP = "group"


class CompleteBy(StrEnum):
    """How it is known that the trainer has finished writing."""

    MARKER = "marker"
    DECLARED = "declared"
    QUIET = "quiet"


class CheckpointState(StrEnum):
    """What has become of a checkpoint that is, or was, on disk."""

    WRITING = "writing"
    COMPLETE = "complete"
    UPLOADING = "uploading"
    COMMITTED = "committed"
    SUPERSEDED = "superseded"
    VANISHED = "vanished"
    FAILED = "failed"


class FileStat(NamedTuple):
    """The identity of a file's content as far as `stat` can tell: equal values, equal content."""

    size: int
    mtime_ns: int
    ctime_ns: int
    device: int
    inode: int
    mode: int
    """Permission bits only."""


class LocalLink(NamedTuple):
    """A symbolic link as it lies on disk."""

    target: str
    """The link's own text."""
    resolved: str | None
    """Path under the watch root that it leads to in the end; None when it leads out of the root or to nothing."""
    is_folder: bool
    """Whether it leads to a folder."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One look at the watch root. Excluded, special and unreadable entries are listed apart and are in none of the maps."""

    files: Mapping[str, FileStat]
    folders: Mapping[str, FileStat]
    links: Mapping[str, LocalLink]
    excluded: frozenset[str] = frozenset()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Path (undecodable bytes shown as backslash escapes) -> why: permission, a name that is not UTF-8."""
    special: frozenset[str] = frozenset()
    """Sockets, FIFOs and devices: never opened."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Path -> absolute path to open, for the files that `watch.follow_links` found outside of the root."""
    cpu_seconds: float = field(default=0.0, compare=False)
    """What the look took."""


class LocalFile(NamedTuple):
    """One file of a checkpoint."""

    path: str
    """Relative to the checkpoint's folder for a directory, else to the stage's folder."""
    source: str
    """What to open: relative to the watch root, or absolute where `watch.follow_links` led out of it."""
    stat: FileStat


class Pointer(NamedTuple):
    """A file beside a checkpoint that names the last one (`latest`, a tracker). It stays a loose file as well."""

    file: LocalFile
    """As it is now; `path` and `source` are relative to the watch root."""
    text: str
    """What it says when it names this checkpoint: what a restore writes, as it may name a later one by the time of the commit."""


@dataclass(frozen=True, slots=True)
class LocalCheckpoint:
    """A checkpoint as it lies on disk at one scan."""

    name: str
    """POSIX path under the watch root."""
    layout: str
    unit: Unit
    files: tuple[LocalFile, ...]
    """Sorted by path."""
    folders: tuple[tuple[str, int], ...] = ()
    """(path, permission bits), sorted, empty ones included."""
    links: tuple[tuple[str, str], ...] = ()
    """(path, target text) of links that stay inside the checkpoint."""
    companions: tuple[str, ...] = ()
    """Paths under the watch root of the state files that belong to it and exist now: taken as they are."""
    pointers: tuple[Pointer, ...] = ()
    """The layout's pointer files that exist now."""
    links_beside: tuple[tuple[str, str], ...] = ()
    """(path under the watch root, target text) of links that lead to it and are restored with it."""
    pending: str = ""
    """Why it cannot be finished yet by what lies beside it (a marker, a temporary folder), as one clause; else empty."""
    in_place: bool = False
    """Whether its writer writes over it again and again: an upload may lose the race, and a private copy is worth its space."""
    excluded: tuple[str, ...] = ()
    """Paths relative as in `files` that a pattern left out."""
    broken: str | None = None
    """Why it can not be stored as it lies there (a link that leads out, a name that is not UTF-8); None when it can."""
    doubt: str = ""
    """Why it needs more quiet than others of its layout, as one clause; empty when it does not."""
    newest_change_ns: int = 0
    """Newest mtime or ctime of its files and folders: the last sign of a writer."""

    @property
    def stage(self) -> str:
        return stage_of(self.name)

    @property
    def step(self) -> int | None:
        return step_of(self.name)

    @property
    def total_bytes(self) -> int:
        return sum(file.stat.size for file in self.files)

    @property
    def saved_ns(self) -> int:
        """Newest file mtime, uncorrected (local clock)."""
        return max((file.stat.mtime_ns for file in self.files), default=self.newest_change_ns)

    @property
    def content(self) -> tuple[tuple[LocalFile, ...], tuple[tuple[str, str], ...]]:
        """What must stay equal for the checkpoint to count as unchanged between two looks."""
        return self.files, self.links


class LooseFolder(Protocol):
    """The loose files directly in one folder."""

    @property
    def path(self) -> str: ...

    @property
    def state(self) -> object:
        """Equal where the folder holds the same loose files with the same content."""
        ...

    def files(self) -> Iterator[LocalFile]:
        """By path."""
        ...


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that a scan found, sorted into checkpoints and loose files."""

    checkpoints: Mapping[str, LocalCheckpoint]
    loose: Mapping[str, LocalFile]
    """Loose files by path under the watch root, made when they are asked for: there may be many."""
    unreadable: Mapping[str, str]
    special: frozenset[str]
    loose_folders: Sequence[LooseFolder] = field(default=(), compare=False)
    """The same folder by folder, which is the quick way."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The trainer has finished writing it."""

    by: CompleteBy


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Not known to be finished."""

    reason: str
    """One clause for people: `no trainer_state.json yet`."""
    waits_only_for_quiet: bool = False
    """True when nothing but time is missing: it will be whole unless someone writes."""
    ready_in_seconds: float | None = None
    """When to look again, if time alone can decide."""


Assessment = Whole | Unfinished


class Order(NamedTuple):
    """The order in which checkpoints are newer or older, everywhere."""

    saved_at: int
    """Whole seconds since the epoch, S3's clock."""
    step: int
    """-1 when the name has none."""
    generation: int

    @classmethod
    def of(cls, saved_at: int, step: int | None, generation: int) -> Order:
        return cls(saved_at, -1 if step is None else step, generation)


def stage_of(name: str) -> str:
    """The parent path of a checkpoint's name, empty at the top."""
    return name.rpartition("/")[0]


_AFTER_STEP = re.compile(r"step[^0-9a-zA-Z]*([0-9]+)", re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]+")
_SUFFIX = re.compile(r"\.(pt|pth|ckpt|bin|safetensors|npz|h5|keras|ubj|pkl)$")


def step_of(name: str) -> int | None:
    """The training step that a checkpoint's name tells: digits after `step`, else the last run of digits, else None."""
    last = _SUFFIX.sub("", name.rpartition("/")[2])
    if match := _AFTER_STEP.search(last):
        return int(match.group(1))
    runs = _DIGITS.findall(last)
    return int(runs[-1]) if runs else None


_RUN_OF_DIGITS = re.compile(r"[0-9]+")


def generalised(path: str) -> str:
    """A path with each run of digits as `#`, so that files of two steps or ranks can be compared."""
    return _RUN_OF_DIGITS.sub("#", path)
