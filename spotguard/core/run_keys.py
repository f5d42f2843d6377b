"""Names in the bucket: where a run keeps its data, manifests, claims and records (docs/storage-format.md).

Keys are absolute in the bucket; a `relative` key is one without the run's prefix, as manifests record it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote, unquote

from spotguard.core.checkpoint import Order, step_of
from spotguard.core.timestamps import compact_time, parse_compact_time

_MANIFEST = re.compile(r"^(?P<name>.+)/(?P<generation>[0-9]{8,})-(?P<saved_at>[0-9]{8}T[0-9]{6}Z)\.json$", re.DOTALL)
_CLAIM = re.compile(r"^(?P<number>[0-9]{8,})(?P<note>|\.released|\.draining)\.json$")
_VERSION = re.compile(r"@[0-9]+$")

RUN_METADATA = "spotguard-run"
CHECKPOINT_METADATA = "spotguard-checkpoint"
LOOSE = "(loose)"
"""Stands in the checkpoint metadata of an object that is a loose file."""


class ManifestKey(NamedTuple):
    """What the key of a manifest tells without reading it."""

    name: str
    generation: int
    saved_at: int
    """Seconds since the epoch."""
    key: str

    @property
    def order(self) -> Order:
        return Order.of(self.saved_at, step_of(self.name), self.generation)


class ClaimKey(NamedTuple):
    number: int
    note: str
    """Empty for the claim itself, else `released` or `draining`."""
    key: str


@dataclass(frozen=True, slots=True)
class RunKeys:
    """The keys of one run, which is one destination prefix."""

    bucket: str
    prefix: str
    """Without slashes at its ends; empty for the whole bucket."""

    @property
    def root(self) -> str:
        """The prefix with its slash, or empty."""
        return f"{self.prefix}/" if self.prefix else ""

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def own(self) -> str:
        return f"{self.root}.spotguard/"

    @property
    def manifests(self) -> str:
        return f"{self.own}manifests/"

    @property
    def claims(self) -> str:
        return f"{self.own}claims/"

    @property
    def interruptions(self) -> str:
        return f"{self.own}interruptions/"

    @property
    def loose_index(self) -> str:
        return f"{self.own}loose.json"

    @property
    def finished(self) -> str:
        return f"{self.own}finished.json"

    @property
    def janitor(self) -> str:
        """When the last sweep was; losing it costs one more."""
        return f"{self.own}janitor.json"

    @property
    def last_sync(self) -> str:
        return f"{self.root}last_sync.json"

    def absolute(self, relative: str) -> str:
        return self.root + relative

    def relative(self, key: str) -> str:
        return key.removeprefix(self.root)

    def data(self, checkpoint: str, path: str, *, is_directory: bool, version: int = 1) -> str:
        """The key of a checkpoint's file: mirrored; the second and later contents of one path get `@2`, `@3`, …"""
        folder = checkpoint if is_directory else checkpoint.rpartition("/")[0]
        mirrored = f"{folder}/{path}" if folder else path
        return self.root + (mirrored if version == 1 else f"{mirrored}@{version}")

    def place(self, checkpoint: str, path: str, *, is_directory: bool) -> str:
        """What all keys begin with that may hold a content of this file: its folder's for a directory, its own for any other."""
        return f"{self.root}{checkpoint}/" if is_directory else self.data(checkpoint, path, is_directory=False)

    def loose(self, path: str, *, version: int = 1) -> str:
        return self.root + (path if version == 1 else f"{path}@{version}")

    def manifest(self, name: str, generation: int, saved_at: datetime) -> str:
        return f"{self.manifests}{name}/{generation:08d}-{compact_time(saved_at)}.json"

    def claim(self, number: int, note: str = "") -> str:
        return f"{self.claims}{number:08d}{'.' + note if note else ''}.json"

    def interruption(self, detected_at: datetime, host: str) -> str:
        return f"{self.interruptions}{compact_time(detected_at)}-{quote(host, safe='')}.json"

    def parse_manifest(self, key: str) -> ManifestKey | None:
        """What a manifest's key tells, or None for a key that is none."""
        if not key.startswith(self.manifests) or not (match := _MANIFEST.match(key[len(self.manifests) :])):
            return None
        try:
            saved_at = parse_compact_time(match["saved_at"])
        except ValueError:
            return None
        return ManifestKey(match["name"], int(match["generation"]), int(saved_at.timestamp()), key)

    def parse_claim(self, key: str) -> ClaimKey | None:
        if not key.startswith(self.claims) or not (match := _CLAIM.match(key[len(self.claims) :])):
            return None
        return ClaimKey(int(match["number"]), match["note"].removeprefix("."), key)

    def metadata(self, checkpoint: str) -> dict[str, str]:
        """The user metadata by which an object proves to be ours. ASCII, because it travels as headers."""
        return {RUN_METADATA: quote(self.url, safe=":/"), CHECKPOINT_METADATA: metadata_name(checkpoint)}


def metadata_name(checkpoint: str) -> str:
    """A checkpoint's name as metadata: percent-encoded ASCII, cut at 1,000 characters (S3 allows 2 KB in all)."""
    return quote(checkpoint, safe="/=()")[:1000]


def checkpoint_named(metadata: str) -> str:
    """The checkpoint that `metadata_name` wrote (exact unless it was cut)."""
    return unquote(metadata)


def without_version(key: str) -> str:
    """A data key without its `@n`."""
    return _VERSION.sub("", key)


def newest_first(keys: list[ManifestKey]) -> list[ManifestKey]:
    """By saved_at, then step, then generation: the newest first."""
    return sorted(keys, key=lambda key: (key.order, key.name), reverse=True)
