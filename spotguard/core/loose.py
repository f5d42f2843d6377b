"""When is a loose file sent, and the index of those that are in the bucket (`.spotguard/loose.json`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spotguard.core.checkpoint import FileStat
from spotguard.core.manifest import ManifestError
from spotguard.core.stored_fields import safe_path

GROWTH = 1.1
AN_HOUR = 3600.0
_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class LooseFile:
    """A loose file that is in the bucket."""

    path: str
    key: str
    """Relative to the run's prefix."""
    size: int
    crc64nvme: str
    mode: int
    mtime_ns: int


def is_due(local: FileStat, known: LooseFile | None, *, sent_ago: float | None, loose_seconds: float, urgent: bool) -> bool:
    """Whether to send the file now.

    A new file is due at once; a changed one at most every `loose_seconds`, and only if it grew by a tenth or an hour passed
    (`sent_ago` is None for one that an earlier daemon sent: then an hour counts as passed). Urgent, in a drain or at the end:
    whatever changed is due."""
    if known is not None and (known.size, known.mtime_ns) == (local.size, local.mtime_ns):
        return False
    if known is None or urgent or sent_ago is None:
        return True
    if sent_ago < loose_seconds:
        return False
    return local.size >= known.size * GROWTH or sent_ago >= AN_HOUR


def encode_index(files: Iterable[LooseFile]) -> bytes:
    """In this order. Entry by entry: of a hundred thousand all at once would be many times what they come to."""
    written, between = bytearray(), b'{"format":1,"files":['
    for file in files:
        written += between
        written += _encoded({name: getattr(file, name) for name in LooseFile.__slots__}).encode()
        between = b","
    written += b"]}" if written else b'{"format":1,"files":[]}'
    return bytes(written)


def decode_index(content: bytes) -> Mapping[str, LooseFile]:
    """By path. Raises ManifestError for anything that may not be acted on."""
    try:
        document = json.loads(content)
        if document["format"] != 1:
            raise ManifestError(f"loose.json has format {document['format']!r}, this version reads format 1: upgrade spotguard")
        files = [_entry(entry) for entry in document["files"]]
    except ManifestError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestError(f"loose.json is damaged: {type(error).__name__}: {error}") from error
    return {file.path: file for file in files}


def _entry(entry: dict[str, object]) -> LooseFile:
    size, mode, mtime_ns, checksum = entry["size"], entry["mode"], entry["mtime_ns"], entry["crc64nvme"]
    if not (isinstance(size, int) and isinstance(mode, int) and isinstance(mtime_ns, int) and isinstance(checksum, str)):
        raise ManifestError(f"loose.json is damaged at {entry.get('path')!r}")
    return LooseFile(safe_path(entry["path"]), safe_path(entry["key"]), size, checksum, mode & 0o7777, mtime_ns)
