"""Garbage: which objects under a run may be deleted because nothing needs them (docs/storage-format.md, "What the janitor deletes").

Every rule here answers "may it go?" and says no when in doubt: an object too many costs cents, one too few costs the training.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping

from spotguard.core.checkpoint import stage_of
from spotguard.core.manifest_format import FORMAT
from spotguard.core.run_keys import CHECKPOINT_METADATA, LOOSE, RUN_METADATA, RunKeys, checkpoint_named, metadata_name, without_version

GARBAGE_AGE_SECONDS = 7 * 24 * 3600.0
"""Only what is older, by S3's clock, is garbage. A commit reuses nothing older than 3 days, so 4 days lie between the two."""
ABANDONED_SECONDS = 24 * 3600.0
"""An upload that nothing was added to for so long is nobody's any more: what it has costs money until it is aborted."""


def is_data_key(keys: RunKeys, key: str) -> bool:
    """Whether a checkpoint's file may lie at this key: under the run, none of the records, no folder placeholder."""
    return key.startswith(keys.root) and not key.startswith(keys.own) and key != keys.last_sync and not key.endswith("/") and key != ""


def old_enough(modified: float | None, now: float) -> bool:
    """Both in seconds since the epoch by S3's clock. What has no known age is not old."""
    return modified is not None and now - modified > GARBAGE_AGE_SECONDS


def is_abandoned(initiated: float | None, parts: Collection[float | None], now: float) -> bool:
    """Whether a multipart upload was begun, and given its newest part, more than a day ago; times as above. The unknown is not old."""
    return initiated is not None and all(moment is not None and now - moment > ABANDONED_SECONDS for moment in (initiated, *parts))


def proves_ours(keys: RunKeys, key: str, metadata: Mapping[str, str]) -> bool:
    """Whether the object's own metadata says that this run wrote it for a checkpoint that lies where the key is.

    Loose files are ours too, but are nobody's garbage; what `adopt` committed carries no metadata and stays."""
    ours = keys.metadata("")[RUN_METADATA]
    checkpoint = metadata.get(CHECKPOINT_METADATA, "")
    if metadata.get(RUN_METADATA) != ours or not checkpoint or checkpoint == metadata_name(LOOSE):
        return False
    stage = stage_of(checkpoint_named(checkpoint))
    return not stage or keys.relative(key).startswith(f"{stage}/")


class InUse:
    """What local checkpoints that are not committed yet may build on: names of checkpoints and keys, absolute or relative."""

    def __init__(self, keys: RunKeys, entries: Collection[str]) -> None:
        self._keys = keys
        self._entries = frozenset(entries)

    def has_name(self, name: str) -> bool:
        return name in self._entries

    def has_key(self, key: str) -> bool:
        """Whether the key itself is used, or lies where a used name keeps its files (any `@n` of them)."""
        relative = self._keys.relative(key)
        return any(candidate in self._entries for candidate in (key, relative, without_version(relative), *_above(relative)))

    def has_object(self, key: str, metadata: Mapping[str, str]) -> bool:
        """The same, or the object was written for a used name, which for a group is not to be seen in the key."""
        return self.has_key(key) or self.has_name(checkpoint_named(metadata.get(CHECKPOINT_METADATA, "")))


def _above(relative: str) -> Iterator[str]:
    while relative := relative.rpartition("/")[0]:
        yield relative


def is_of_another_version(content: bytes) -> bool:
    """Whether a manifest that can not be decoded was written by a version with another format.

    Nobody here knows which objects such a manifest needs, so nothing at all may be deleted beside it. Bytes that are no JSON object
    are damage: nothing can restore from them, and only their own name is left alone."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("format") != FORMAT


def keys_mentioned(content: bytes) -> frozenset[str]:
    """The relative keys that a manifest which was refused names all the same, as far as it can be read."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return frozenset()
    files = document.get("files") if isinstance(document, dict) else None
    entries = files if isinstance(files, list) else []
    found = (entry.get("key") for entry in entries if isinstance(entry, dict))
    return frozenset(key for key in found if isinstance(key, str))
