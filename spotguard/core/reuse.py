"""Which committed files a local file may be equal to, and what tells them apart, cheapest first (size, first part, whole).

Only what is read of the bucket anyway is used: the manifests of earlier checkpoints. A file that turns out to be equal is copied
inside the store instead of being sent; each checkpoint keeps objects of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from spotguard.core.checkpoint import generalised
from spotguard.core.checksum import decode_crc64
from spotguard.core.manifest import Manifest, ManifestFile

LEAST_BYTES = 128 << 10
"""Below, sending costs no more than the requests of a copy."""
_WHOLE_AS_FIRST_BYTES = 64 << 20
"""A larger file whose first part nobody noted is not compared: that would read all of it on a mere guess."""


class Known(NamedTuple):
    """A committed file that a local one may be equal to."""

    key: str
    """Relative to the run's prefix."""
    size: int
    crc64nvme: int
    first_size: int
    """How many bytes from the start `first_crc` is of; the whole file when it was one part."""
    first_crc: int


def known_of(file: ManifestFile) -> Known | None:
    """None for a file that is not worth a comparison."""
    if file.size < LEAST_BYTES:
        return None
    whole = decode_crc64(file.crc64nvme)
    if file.first_part is not None and 0 < file.first_part.size < file.size:
        return Known(file.key, file.size, whole, file.first_part.size, decode_crc64(file.first_part.crc64nvme))
    return Known(file.key, file.size, whole, file.size, whole) if file.size <= _WHOLE_AS_FIRST_BYTES else None


class KnownFiles:
    """The committed files that a local file may be equal to, found by size or by key."""

    def __init__(self, manifests: Iterable[Manifest] = ()) -> None:
        """Of manifests named first, an equal content is found first."""
        contents: dict[int, dict[tuple[int, int], Known]] = {}
        self._of_key: dict[str, Known] = {}
        for file in (file for manifest in manifests for file in manifest.files):
            if (known := known_of(file)) is not None:
                contents.setdefault(known.size, {}).setdefault((known.crc64nvme, known.first_size), known)
                self._of_key[known.key] = known
        self._of_size = {size: tuple(found.values()) for size, found in contents.items()}

    def of_size(self, size: int) -> tuple[Known, ...]:
        """Each content once. Names do not matter: shards are renamed, and steps and ranks stand in them."""
        return self._of_size.get(size, ())

    def beginnings(self) -> Mapping[int, frozenset[int]]:
        """With what the known files begin: so many bytes -> their CRC64NVMEs."""
        found: dict[int, set[int]] = {}
        for known in self._of_key.values():
            found.setdefault(known.first_size, set()).add(known.first_crc)
        return {size: frozenset(sums) for size, sums in found.items()}

    def size_like(self, key: str) -> int:
        """Bytes of the largest file whose key (relative) differs from this one in numbers only; 0 where none is known."""
        return max((known.size for name, known in self._of_key.items() if generalised(name) == generalised(key)), default=0)

    def at(self, key: str) -> Known | None:
        """What is known of the object at this key (relative)."""
        return self._of_key.get(key)


def first_sizes(known: Sequence[Known]) -> tuple[int, ...]:
    """How much of the local file's start must be summed to tell these apart from it: sizes, ascending."""
    return tuple(sorted({candidate.first_size for candidate in known}))


def with_first(known: Sequence[Known], first_size: int, crc64nvme: int) -> tuple[Known, ...]:
    """Those that the local file may still be equal to, now that the sum of its first `first_size` bytes is known."""
    return tuple(candidate for candidate in known if candidate.first_size != first_size or candidate.first_crc == crc64nvme)


def with_whole(known: Sequence[Known], crc64nvme: int) -> Known | None:
    """The first that has the local file's content."""
    return next((candidate for candidate in known if candidate.crc64nvme == crc64nvme), None)
