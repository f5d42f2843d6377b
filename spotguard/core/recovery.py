"""What to bring back, in which order to try, and what must not come with it. Decisions only.

Why the order is as it is. The newest commit decides the stage, because that is the stage in which training stood. When it turns out to
be damaged, an older commit of that same stage loses the least and asks nothing new of the training script; only when the whole stage is
damaged does the newest of the other stages come, so that a run is never given up while something of it is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from spotguard.core.checkpoint import FileStat, Order, Tree, generalised, stage_of
from spotguard.core.loose import LooseFile
from spotguard.core.manifest import Manifest
from spotguard.core.run_keys import ManifestKey
from spotguard.core.timestamps import compact_time

_NS = 1_000_000_000
FOLDER_GAP_NS = 2 * _NS
"""Between the folder times of two checkpoints. The Hugging Face Trainer rotates by them, and by number if all lie within 1 s."""

STATE_NAMES = frozenset({"training_state.json", "latest", "checkpoint", "latest_checkpointed_iteration.txt"})
"""Names of files that tell which checkpoint is the last one, or in which state training was then."""


_TOLD_BY_NAME_ALONE = frozenset({"generic-dir", "generic-file", "single-file"})


@dataclass(frozen=True, slots=True)
class LocalCandidate:
    """A whole checkpoint on this disk that is not what was committed last under its name."""

    name: str
    order: Order

    @property
    def stage(self) -> str:
        return stage_of(self.name)


Candidate = ManifestKey | LocalCandidate


def candidates(
    committed: Iterable[ManifestKey], local: Iterable[LocalCandidate] = (), *, stage: str | None = None, name: str | None = None
) -> tuple[Candidate, ...]:
    """What to try, the best first: the newest, then the older ones of its stage, then the other stages, newest first.

    With `name` only that checkpoint, newest generation first; with `stage` only that stage. Of a tie the committed one goes first.
    """
    all_of_them: list[Candidate] = [*committed, *local]
    every = [c for c in all_of_them if _is_wanted(c.name, stage, name)]
    newest_first = sorted(every, key=lambda c: (c.order, isinstance(c, ManifestKey), c.name), reverse=True)
    if not newest_first:
        return ()
    first_stage = stage_of(newest_first[0].name)
    return tuple(sorted(newest_first, key=lambda c: stage_of(c.name) != first_stage))


def _is_wanted(candidate: str, stage: str | None, name: str | None) -> bool:
    return (stage is None or stage_of(candidate) == stage) and (name is None or candidate == name)


class FolderTime(NamedTuple):
    """A checkpoint's folder and the modification time that it has or should get."""

    name: str
    order: Order
    mtime_ns: int


def folder_times(folders: Iterable[FolderTime], *, now_ns: int) -> Mapping[str, int]:
    """The folder times to set, by name, so that they rise with the order, at least `FOLDER_GAP_NS` apart and none after now.

    Only those that must change are named. None lies in the future: the trainer's next checkpoint must be the newest of all.
    """
    ordered = sorted(folders, key=lambda folder: (folder.order, folder.name))
    times: list[int] = []
    for folder in ordered:
        times.append(max(folder.mtime_ns, times[-1] + FOLDER_GAP_NS) if times else folder.mtime_ns)
    ceiling = now_ns - FOLDER_GAP_NS
    for at in reversed(range(len(times))):
        times[at] = min(times[at], ceiling)
        ceiling = times[at] - FOLDER_GAP_NS
    return {folder.name: time for folder, time in zip(ordered, times, strict=True) if time != folder.mtime_ns}


def loose_to_bring(
    index: Mapping[str, LooseFile], *, chosen: str, chosen_order: Order, companions: Iterable[str], newer: Sequence[ManifestKey]
) -> tuple[tuple[LooseFile, ...], tuple[str, ...]]:
    """Which loose files go with the chosen checkpoint, and which are left in the bucket because they tell of a newer one.

    Companions come from the manifest, never from here. A state or pointer file without a companion of its name is left where a
    newer commit had been saved when it was written: with an older checkpoint it would be a mixture.
    """
    taken = set(companions)
    passed_over = [key.saved_at for key in newer if key.name != chosen and key.order > chosen_order]
    bring: list[LooseFile] = []
    left: list[LooseFile] = []
    for path, file in sorted(index.items()):
        if path in taken:
            continue
        tells_of_newer = path.rpartition("/")[2] in STATE_NAMES and any(saved_at * _NS <= file.mtime_ns for saved_at in passed_over)
        (left if tells_of_newer else bring).append(file)
    return tuple(bring), tuple(file.path for file in left)


def is_below(path: str, name: str) -> bool:
    """Whether a path is the checkpoint `name` itself or lies in it."""
    return path == name or path.startswith(f"{name}/")


def tree_of_listing(sizes: Mapping[str, int]) -> Tree:
    """Objects as if they were files, by key relative to the run: what would lie here if all of it were copied to a disk."""
    files: dict[str, FileStat] = {}
    folders: dict[str, FileStat] = {}
    nothing = FileStat(0, 0, 0, 0, 0, 0o755)
    for path, size in sizes.items():
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts):
            continue
        files[path] = FileStat(size, 0, 0, 0, 0, 0o644)
        for depth in range(1, len(parts)):
            folders["/".join(parts[:depth])] = nothing
    return Tree(files, folders, {})


def quarantine_name(name: str, now: datetime) -> str:
    """Where a checkpoint that is moved aside goes, below the quarantine folder."""
    return f"{name}-{compact_time(now)}"


def could_be_picked(name: str, layout: str, known: Iterable[str]) -> bool:
    """Whether a trainer may take this torn checkpoint for one of its own, so that it must be out of its sight.

    A Hugging Face Trainer takes any `checkpoint-<N>`. A folder or file that is told by its name alone counts only beside a checkpoint whose
    name differs in nothing but digits: `data-2024` is not moved because a file in it is empty."""
    return layout not in _TOLD_BY_NAME_ALONE or generalised(name) in {generalised(other) for other in known}


def newest_relatives(names: Iterable[str], committed: Sequence[ManifestKey]) -> frozenset[str]:
    """Of each kind of checkpoint on disk, the name that was committed last. A kind is what differs in nothing but digits."""
    kinds = {generalised(name) for name in names}
    newest: dict[str, ManifestKey] = {}
    for key in committed:
        kind = generalised(key.name)
        if kind in kinds and (kind not in newest or key.order > newest[kind].order):
            newest[kind] = key
    return frozenset(key.name for key in newest.values())


def layout_of_relative(name: str, layout: str, committed: Iterable[Manifest]) -> str:
    """By whose rule a checkpoint on disk is judged: that of the newest commit of its kind, else the one that it looks like.

    A save that was cut off may lack the very file by which its layout is told, and looks like a generic one then."""
    relatives = [manifest for manifest in committed if generalised(manifest.name) == generalised(name)]
    return max(relatives, key=lambda manifest: manifest.order).layout if relatives else layout
