"""Is what lies on disk what was committed last? Decided from sizes and times; content is asked for only where these can not tell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from spotguard.core.checkpoint import LocalCheckpoint, LocalFile
from spotguard.core.manifest import Manifest


class Likeness(StrEnum):
    SAME = "same"
    SHRUNK = "shrunk"
    """A file of the last generation is missing: it is being deleted, and is left alone whatever else changed."""
    CHANGED = "changed"
    UNSURE = "unsure"
    """All sizes are equal but some times are not: only the content can tell."""


@dataclass(frozen=True, slots=True)
class Comparison:
    likeness: Likeness
    unsure: tuple[LocalFile, ...] = ()
    """The files whose checksum must be compared with the manifest's."""


def compare(local: LocalCheckpoint, committed: Manifest) -> Comparison:
    """Compare a checkpoint on disk with the last generation of its name.

    A committed name gets a new generation only if no file of its last generation is missing and at least one changed or came
    (docs/storage-format.md). Permission bits alone are no change.
    """
    by_path = {file.path: file for file in local.files}
    here = by_path.keys() | {path for path, _ in local.links}
    if any(file.path not in here for file in committed.files) or any(link.path not in here for link in committed.links):
        return Comparison(Likeness.SHRUNK)
    if dict(local.links) != {link.path: link.target for link in committed.links} or len(by_path) != len(committed.files):
        return Comparison(Likeness.CHANGED)
    unsure = []
    for then in committed.files:
        now = by_path.get(then.path)
        if now is None or now.stat.size != then.size:
            return Comparison(Likeness.CHANGED)
        if now.stat.mtime_ns != then.mtime_ns:
            unsure.append(now)
    return Comparison(Likeness.UNSURE, tuple(unsure)) if unsure else Comparison(Likeness.SAME)


def settle_by_content(comparison: Comparison, committed: Manifest, checksums: dict[str, str]) -> Likeness:
    """SAME or CHANGED, once the CRC64NVME (as manifests write it) of each unsure file is known, by path."""
    then = {file.path: file.crc64nvme for file in committed.files}
    equal = all(checksums.get(file.path) == then[file.path] for file in comparison.unsure)
    return Likeness.SAME if equal else Likeness.CHANGED
