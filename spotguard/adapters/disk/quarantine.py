"""Moves what must not stay where a trainer looks into `.spotguard-quarantine/`. Nothing is ever deleted there."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress

from spotguard.adapters.disk.paths import QUARANTINE, flush_folder, make_folders, resolve
from spotguard.ports.placement import PlacementRefused


def move_aside(root: str, paths: Sequence[str], aside: str) -> str:
    """Move the entries away; returns where they are. One entry becomes `aside` itself, several lie in it under their own paths."""
    try:
        return _move(root, os.path.join(root, QUARANTINE), paths, aside)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    # A folder on the way is a mount of its own: the quarantine is then beside the entries, on their filesystem.
    parent = os.path.dirname(os.path.join(root, paths[0]))
    return _move(root, os.path.join(parent, QUARANTINE), paths, os.path.basename(aside))


def quarantined_bytes(root: str) -> int:
    """The sizes of all files in the quarantine of this root, no link followed."""
    total = 0
    for at, _, names in os.walk(os.path.join(root, QUARANTINE)):
        for name in names:
            with suppress(OSError):  # somebody clears it away just now
                total += os.lstat(os.path.join(at, name)).st_size
    return total


def _move(root: str, quarantine: str, paths: Sequence[str], aside: str) -> str:
    if os.path.islink(quarantine):
        raise PlacementRefused(f"{quarantine} is a link: remove it, it is where torn checkpoints are moved to")
    place = _unused(os.path.join(quarantine, aside))
    for path in paths:
        target = place if len(paths) == 1 else os.path.join(place, path)
        make_folders(os.path.dirname(target))
        os.rename(resolve(root, path), target)
        flush_folder(os.path.dirname(resolve(root, path)))
    return place


def _unused(path: str) -> str:
    number, candidate = 1, path
    while os.path.lexists(candidate):
        number += 1
        candidate = f"{path}-{number}"
    return candidate
