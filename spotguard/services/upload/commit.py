"""The commit of one checkpoint: prove that every byte is in the bucket, then create its manifest. Data first, manifest last.

The safety argument. A manifest is created only after a listing, made after the last upload, showed every named key with the size and the
ETag that the upload of exactly those bytes returned; data objects are created with `If-None-Match: *` and are never overwritten, and the
janitor takes nothing that is younger than 7 days or named by a manifest. So whatever manifest can be read names objects that are all there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from spotguard.core.checkpoint import CompleteBy, LocalCheckpoint, LocalFile, Unit
from spotguard.core.checksum import encode_crc64
from spotguard.core.layouts.ranks import world_size
from spotguard.core.manifest import Companion, FirstPart, Host, Manifest, ManifestFile, ManifestFolder, ManifestLink
from spotguard.core.manifest_format import encode
from spotguard.core.run_keys import RunKeys
from spotguard.ports.object_store import ObjectExists, ObjectStore, StoredObject
from spotguard.ports.offload import Offload, at_once

if TYPE_CHECKING:  # restore needs no upload engine
    from spotguard.services.upload.checkpoint_upload import SentFile


class NotAsSent(Exception):
    """The bucket does not hold what the uploads returned; `paths` must be sent again."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(f"{len(paths)} objects are missing or differ in the bucket")
        self.paths = tuple(paths)


class ForeignManifest(Exception):
    """A manifest of this generation exists that is not ours: somebody else writes this run."""


@dataclass(frozen=True, slots=True)
class Capture:
    """A checkpoint as it was when it became complete, with the state that belongs to it."""

    checkpoint: LocalCheckpoint
    complete_by: CompleteBy
    companions: tuple[Companion, ...]
    training_state: Mapping[str, object]
    saved_at: datetime
    """Newest file mtime in S3's clock, whole seconds."""


def draft(
    capture: Capture, sent: Mapping[str, SentFile], *, keys: RunKeys, generation: int, reason: str, host: Host, committed_at: datetime
) -> Manifest:
    """The manifest of a captured checkpoint all of whose files are sent."""
    local = capture.checkpoint
    return Manifest(
        name=local.name,
        stage=local.stage,
        step=local.step,
        layout=local.layout,
        unit=local.unit,
        complete_by=capture.complete_by,
        generation=generation,
        saved_at=capture.saved_at,
        committed_at=committed_at.replace(microsecond=0),
        reason=reason,
        host=host,
        total_bytes=local.total_bytes,
        training_state=capture.training_state,
        files=tuple(
            ManifestFile(
                path=file.path,
                key=keys.relative(sent[file.path].key),
                size=file.stat.size,
                crc64nvme=encode_crc64(sent[file.path].crc64nvme),
                mode=file.stat.mode,
                mtime_ns=file.stat.mtime_ns,
                first_part=_first_part(sent[file.path]),
            )
            for file in local.files
        ),
        folders=tuple(ManifestFolder(path, mode) for path, mode in local.folders) if local.unit is Unit.DIRECTORY else (),
        links=tuple(ManifestLink(path, target) for path, target in local.links) if local.unit is Unit.DIRECTORY else (),
        companions=capture.companions,
        excluded=local.excluded,
        links_beside=tuple(ManifestLink(path, target) for path, target in local.links_beside),
        world_size=world_size(file.path for file in local.files),
    )


def _first_part(sent: SentFile) -> FirstPart | None:
    return None if sent.first_part is None else FirstPart(sent.first_part[0], encode_crc64(sent.first_part[1]))


async def check_uploads(
    store: ObjectStore, keys: RunKeys, capture: Capture, sent: Mapping[str, SentFile], offload: Offload = at_once
) -> None:
    """Compare a fresh listing with what the uploads returned. Raises NotAsSent with the paths that are not there as sent."""
    local = capture.checkpoint
    is_directory = local.unit is Unit.DIRECTORY
    listed = [
        listing
        for prefix in sorted({keys.place(local.name, file.path, is_directory=is_directory) for file in local.files})
        for listing in await store.list(prefix)
    ]
    if wrong := await offload(len(local.files), lambda: _not_as_sent(local.files, sent, listed)):
        raise NotAsSent(wrong)


def _not_as_sent(files: Sequence[LocalFile], sent: Mapping[str, SentFile], listed: Iterable[StoredObject]) -> list[str]:
    there = {stored.key: (stored.size, stored.etag) for stored in listed}
    return [file.path for file in files if there.get(sent[file.path].key) != (file.stat.size, sent[file.path].etag)]


async def create_manifest(store: ObjectStore, keys: RunKeys, manifest: Manifest, offload: Offload = at_once) -> str:
    """Make the checkpoint visible; returns the manifest's key.

    A key that is taken is read back: the same content is our own commit whose answer was lost. Raises ForeignManifest otherwise, and
    any StoreError, after which the commit may or may not have happened: calling again with the same manifest settles it."""
    key = keys.manifest(manifest.name, manifest.generation, manifest.saved_at)
    content = await offload(len(manifest.files), lambda: encode(manifest))
    try:
        await store.create(key, content, metadata=keys.metadata(manifest.name))
    except ObjectExists as error:
        if await store.read(key) != content:
            raise ForeignManifest(f"{key} exists and is not ours") from error
    return key


def whole_seconds(nanoseconds: int, offset_seconds: float, *, now: float) -> datetime:
    """A file time as `saved_at`: in S3's clock, cut to whole seconds. An offset within the `Date` header's own error is none.

    `now` is the local wall clock: nothing was saved later than that, whatever a file says (a clock that was set, a copied time). A
    checkpoint from the future would be the newest until then, and hide every one that comes after it."""
    offset = offset_seconds if abs(offset_seconds) >= 2 else 0.0
    return datetime.fromtimestamp(min(nanoseconds // 1_000_000_000, math.ceil(now)) + round(offset), UTC)
