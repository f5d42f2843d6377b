"""Counts the bytes of one checkpoint's upload: what went, what lay in the bucket already, what is left."""

from __future__ import annotations

from spotguard.core.checkpoint import LocalFile


class UploadTally:
    def __init__(self) -> None:
        self._there: dict[LocalFile, int] = {}
        self._sent = 0
        self._reused = 0

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
        return self._there.get(file, 0)

    def placed(self, file: LocalFile) -> None:
        """It is in the bucket, whole."""
        self._there.pop(file, None)

    def clear(self) -> None:
        """Nothing of it is under way any more."""
        self._there.clear()

    def settle(self) -> tuple[int, int]:
        """Bytes sent and bytes reused since the last time."""
        settled = self._sent, self._reused
        self._sent = self._reused = 0
        return settled
