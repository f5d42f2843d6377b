"""Objects that another tool put into the prefix, seen as the files that they were copied from. Decisions only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from spotguard.core.checkpoint import FileStat, LocalCheckpoint, Tree, stage_of, step_of

SAME_PASS_SECONDS = 300.0
"""Uploads with no longer a pause between them are taken for one pass of the tool that made them."""
_NS = 1_000_000_000
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755


class ForeignObject(NamedTuple):
    """One line of the listing, by its path under the run."""

    size: int
    etag: str
    modified: float
    """Seconds since the epoch, S3's clock: when it was uploaded. What time the file had is not known."""


def tree_of_objects(objects: Mapping[str, ForeignObject], leaves_out: Callable[[str], bool]) -> Tree:
    """What would lie on a disk if all of it were copied there, with the upload times as file times."""
    files: dict[str, FileStat] = {}
    folders: dict[str, FileStat] = {}
    excluded: set[str] = set()
    for number, (path, found) in enumerate(sorted(objects.items()), 1):
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts):
            continue  # a folder marker of the console, or what no disk can hold
        if leaves_out(path):
            excluded.add(path)
            continue
        when = int(found.modified * _NS)
        files[path] = FileStat(found.size, when, when, 0, number, _FILE_MODE)
        for depth in range(1, len(parts)):
            folders["/".join(parts[:depth])] = FileStat(0, 0, 0, 0, 0, _FOLDER_MODE)
    return Tree(files, folders, {}, frozenset(excluded))


class Uploaded(NamedTuple):
    """When the objects of one checkpoint were uploaded, seconds since the epoch."""

    name: str
    first: float
    last: float


def saved_times(uploads: Iterable[Uploaded]) -> Mapping[str, int]:
    """`saved_at` of each checkpoint, in whole seconds: when its last object was uploaded, but within one pass of the tool never later
    than that of a higher step.

    One pass of `aws s3 sync` sends what it finds in the order of names, several at a time, so `checkpoint-1000` may be there before
    `checkpoint-900`. Between two passes the times are true: a run that began anew has lower steps and later uploads."""
    stages: dict[str, list[Uploaded]] = {}
    for upload in uploads:
        stages.setdefault(stage_of(upload.name), []).append(upload)
    return {name: saved for stage in stages.values() for group in _passes(stage) for name, saved in _in_step_order(group)}


def _passes(uploads: list[Uploaded]) -> list[list[Uploaded]]:
    groups: list[list[Uploaded]] = []
    ends = float("-inf")
    for upload in sorted(uploads, key=lambda upload: (upload.first, upload.last)):
        if upload.first - ends > SAME_PASS_SECONDS:
            groups.append([])
        groups[-1].append(upload)
        ends = max(ends, upload.last)
    return groups


def _in_step_order(group: list[Uploaded]) -> list[tuple[str, int]]:
    times: list[tuple[str, int]] = [(upload.name, int(upload.last)) for upload in group if step_of(upload.name) is None]
    ceiling = float("inf")
    for upload in sorted(group, key=lambda upload: step_of(upload.name) or 0, reverse=True):
        if step_of(upload.name) is not None:
            ceiling = min(ceiling, upload.last)
            times.append((upload.name, int(ceiling)))
    return times


def companions_of(checkpoint: LocalCheckpoint, newest_of_stage: Mapping[str, str], newest: str) -> tuple[str, ...]:
    """The state and pointer files that can be said to belong to it: those of the folder whose newest checkpoint it is.

    They are as the last pass left them, so they tell of the newest that there is, whole or not, and of no older one."""
    mine = []
    for path in checkpoint.companions:
        folder = stage_of(path)
        last = newest_of_stage.get(folder) if folder == checkpoint.stage else newest
        if last == checkpoint.name:
            mine.append(path)
    return tuple(mine)
