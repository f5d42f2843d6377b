"""Where a symbolic link leads."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from spotguard.core.checkpoint import LocalLink


class NotText(Exception):
    """The link's target, or where it leads, is not UTF-8."""


@dataclass(frozen=True, slots=True)
class FoundLink:
    as_found: LocalLink
    real: str
    """Absolute, with no link in it."""
    outside: os.stat_result | None = None
    """Of the file or folder, when it lies out of the root."""
    special: bool = False
    """Whether it leads to a socket, FIFO or device."""


def read_link(path: str, real_root: str) -> FoundLink:
    """`real_root`: the watch root without links. Raises OSError when there is no link, NotText."""
    target = os.readlink(path)
    real = os.path.realpath(path)
    try:
        target.encode()
        real.encode()
    except UnicodeEncodeError as error:
        raise NotText(path) from error
    try:
        found = os.stat(path)
    except OSError:
        return FoundLink(LocalLink(target, None, False), real)  # leads to nothing, in a circle, or where we may not look
    is_folder = stat.S_ISDIR(found.st_mode)
    special = not is_folder and not stat.S_ISREG(found.st_mode)
    root = real_root.rstrip("/")
    if real == real_root or real.startswith(f"{root}/"):
        return FoundLink(LocalLink(target, real[len(root) + 1 :], is_folder), real, special=special)
    return FoundLink(LocalLink(target, None, is_folder), real, outside=None if special else found, special=special)
