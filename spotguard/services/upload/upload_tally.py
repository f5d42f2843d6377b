"""Counts the bytes of one checkpoint's upload: what went, what lay in the bucket already, what is left."""

from __future__ import annotations

from typing import NamedTuple

from spotguard.core.checkpoint import LocalFile
from spotguard.core.streaming import paid


class Settled(NamedTuple):
    """Bytes."""

    sent: int
    """Over the wire, in all attempts."""
    reused: int
    """Copied inside the store, or there from an earlier life."""
    ahead: int
    """Of `sent`: before their file was whole, and not in vain."""


class UploadTally:
    def __init__(self) -> None:
        self._there: dict[LocalFile, int] = {}
        self._ahead: dict[str, int] = {}
        """By path: bytes that went before the file was whole and were not compared with it yet."""
        self._went_ahead: dict[str, int] = {}
        self._lost: dict[str, int] = {}
        self._vain: set[str] = set()
        self._sent = 0
        self._reused = 0
        self._settled_ahead = 0

    def went_ahead(self, path: str, size: int) -> None:
        """So many more bytes of a file that is still being written went (negative: an attempt starts over)."""
        self._sent += size
        self._went_ahead[path] = self._went_ahead.get(path, 0) + size
        self._ahead[path] = max(0, self._ahead.get(path, 0) + size)

    def judged(self, file: LocalFile, size: int, right: bool) -> None:
        """So many bytes that went ahead are in the whole file, or are not."""
        ours = min(size, self._ahead.get(file.path, 0))  # the rest is an earlier life's, or was sent as another content of the file
        if ours:
            self._ahead[file.path] -= ours
        if right:
            self._there[file] = self._there.get(file, 0) + size
            self._reused += size - ours
        else:
            self._lost[file.path] = self._lost.get(file.path, 0) + ours

    def given_up(self, path: str) -> None:
        """What went ahead of this file is of no use."""
        self._lost[path] = self._lost.get(path, 0) + self._ahead.pop(path, 0)

    def went(self, file: LocalFile, size: int) -> None:
        """So many more bytes of it went over the wire (negative: an attempt starts over)."""
        self._sent += size
        self._there[file] = max(0, self._there.get(file, 0) + size)

    def found(self, file: LocalFile, size: int) -> None:
        """So many bytes of it need not go: they were copied inside the store, or lay there."""
        self._reused += size
        self._there[file] = self._there.get(file, 0) + size

    def lies(self, file: LocalFile, size: int) -> None:
        """So much of it is in the bucket now."""
        self._there[file] = size

    def there(self, file: LocalFile) -> int:
        """Bytes of a file that is not sent whole which are on their way, or lie in the bucket as parts."""
        return min(file.stat.size, self._there.get(file, 0) + self.unproven(file))

    def unproven(self, file: LocalFile) -> int:
        """Of `there`: what went before the file was whole and was not compared with it yet."""
        return min(file.stat.size, self._ahead.get(file.path, 0))

    def placed(self, file: LocalFile) -> None:
        """It is in the bucket, whole."""
        self._there.pop(file, None)
        self.given_up(file.path)
        ahead, lost = self._went_ahead.pop(file.path, 0), self._lost.pop(file.path, 0)
        self._settled_ahead += ahead - lost
        if not paid(ahead, lost):
            self._vain.add(file.path)

    def take_vain(self) -> set[str]:
        """Paths of whole files that were sent ahead at a loss, since the last call."""
        vain, self._vain = self._vain, set()
        return vain

    def clear(self) -> None:
        """Nothing of it is under way any more."""
        self._there.clear()
        self._ahead.clear()

    def settle(self) -> Settled:
        """What went since the last time."""
        settled = Settled(self._sent, self._reused, self._settled_ahead)
        self._sent = self._reused = self._settled_ahead = 0
        return settled
