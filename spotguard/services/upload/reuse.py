"""Finds out whether a local file has the content of a committed one, reading as little as possible."""

from __future__ import annotations

from dataclasses import dataclass

from spotguard.core.reuse import Known, KnownFiles, first_sizes, with_first, with_whole
from spotguard.services.upload.content_sums import ContentSums


@dataclass(slots=True)
class Duplicate:
    """A committed object with the content of a local file. Not frozen: it is given up when the store will not copy it."""

    source: str
    """Relative to the run's prefix."""
    crc64nvme: int
    first_part: tuple[int, int] | None
    """Size and CRC64NVME, as `ManifestFile.first_part`."""
    usable: bool = True


async def find_duplicate(size: int, sums: ContentSums, known_files: KnownFiles, *, step: int) -> Duplicate | None:
    """The object to copy instead of sending this file, if one is known.

    A file whose first part differs from all of equal size is not read any further; `step` is the part size that it would be sent in.
    Raises OSError of reading it."""
    known = known_files.of_size(size)
    for first_size in first_sizes(known):
        if known:
            known = with_first(known, first_size, await sums.of(0, first_size))
    if not known:
        return None
    found = with_whole(known, await sums.whole(step))
    return None if found is None else Duplicate(found.key, found.crc64nvme, _first_part(found))


async def differs_at_first(key: str, sums: ContentSums, known_files: KnownFiles) -> bool:
    """Whether the first part already tells that the committed object at this key (relative) is another content.

    False where nothing is known of it. Raises OSError."""
    known = known_files.at(key)
    return known is not None and await sums.of(0, known.first_size) != known.first_crc


def _first_part(known: Known) -> tuple[int, int] | None:
    return (known.first_size, known.first_crc) if known.first_size < known.size else None
