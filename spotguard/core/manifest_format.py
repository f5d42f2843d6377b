"""The bytes of a manifest: the one format that must be kept for ever.

Format 1 is JSON in UTF-8 as docs/storage-format.md shows it. Unknown fields are ignored, an unknown format is refused, and so is every path
that could lead out of the folder that is restored into, whoever wrote it.
"""

from __future__ import annotations

import base64
import binascii
import json
import posixpath
from typing import Any

from spotguard.core.checkpoint import CompleteBy, Unit
from spotguard.core.manifest import (
    COMPANION_LIMIT_BYTES,
    Companion,
    FirstPart,
    Host,
    Manifest,
    ManifestError,
    ManifestFile,
    ManifestFolder,
    ManifestLink,
)
from spotguard.core.stored_fields import number, parse_time, safe_path, stays_inside, text
from spotguard.core.timestamps import format_time

FORMAT = 1


def encode(manifest: Manifest) -> bytes:
    """The canonical bytes of a manifest: equal manifests, equal bytes."""
    document = {
        "format": FORMAT,
        "name": manifest.name,
        "stage": manifest.stage,
        "step": manifest.step,
        "layout": manifest.layout,
        "unit": manifest.unit.value,
        "complete_by": manifest.complete_by.value,
        "generation": manifest.generation,
        "saved_at": format_time(manifest.saved_at),
        "committed_at": format_time(manifest.committed_at),
        "reason": manifest.reason,
        "host": {"hostname": manifest.host.hostname, "instance_id": manifest.host.instance_id},
        "total_bytes": manifest.total_bytes,
        "training_state": dict(manifest.training_state),
        "files": [_file_document(file) for file in manifest.files],
        "folders": [{"path": f.path, "mode": f.mode} for f in manifest.folders],
        "links": [{"path": link.path, "target": link.target} for link in manifest.links],
        "companions": [{"path": c.path, "content": base64.b64encode(c.content).decode("ascii")} for c in manifest.companions],
        "excluded": list(manifest.excluded),
    }
    if manifest.links_beside:
        document["links_beside"] = [{"path": link.path, "target": link.target} for link in manifest.links_beside]
    if manifest.world_size is not None:
        document["world_size"] = manifest.world_size
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _file_document(file: ManifestFile) -> dict[str, Any]:
    document: dict[str, Any] = {
        "path": file.path,
        "key": file.key,
        "size": file.size,
        "crc64nvme": file.crc64nvme,
        "mode": file.mode,
        "mtime_ns": file.mtime_ns,
    }
    if file.first_part is not None:
        document["first_part"] = {"size": file.first_part.size, "crc64nvme": file.first_part.crc64nvme}
    return document


def decode(content: bytes) -> Manifest:
    """The manifest in these bytes.

    Raises ManifestError: not JSON, another format, a field that is missing or of the wrong kind, a path that escapes, two entries
    for one path, sizes that do not add up.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ManifestError("is not a JSON object")
    if document.get("format") != FORMAT:
        raise ManifestError(f"has format {document.get('format')!r}, this version reads format {FORMAT}: upgrade spotguard")
    try:
        manifest = _from_document(document)
    except ManifestError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, binascii.Error) as error:
        raise ManifestError(f"is damaged: {type(error).__name__}: {error}") from error
    _refuse_contradictions(manifest)
    return manifest


def _from_document(document: dict[str, Any]) -> Manifest:
    host = document["host"]
    step = document["step"]
    return Manifest(
        name=text(document["name"]),
        stage=text(document["stage"]),
        step=None if step is None else number(step),
        layout=text(document["layout"]),
        unit=Unit(document["unit"]),
        complete_by=CompleteBy(document["complete_by"]),
        generation=number(document["generation"]),
        saved_at=parse_time(document["saved_at"]),
        committed_at=parse_time(document["committed_at"]),
        reason=text(document["reason"]),
        host=Host(text(host["hostname"]), host.get("instance_id")),
        total_bytes=number(document["total_bytes"]),
        files=tuple(_file(entry) for entry in document["files"]),
        folders=tuple(ManifestFolder(safe_path(f["path"]), number(f["mode"]) & 0o7777) for f in document.get("folders", ())),
        links=tuple(_link(entry) for entry in document.get("links", ())),
        companions=tuple(_companion(entry) for entry in document.get("companions", ())),
        excluded=tuple(text(path) for path in document.get("excluded", ())),
        training_state=dict(document.get("training_state") or {}),
        links_beside=tuple(ManifestLink(safe_path(e["path"]), text(e["target"])) for e in document.get("links_beside", ())),
        world_size=None if document.get("world_size") is None else number(document["world_size"]),
    )


def _file(entry: dict[str, Any]) -> ManifestFile:
    first = entry.get("first_part")
    return ManifestFile(
        path=safe_path(entry["path"]),
        key=safe_path(entry["key"]),
        size=number(entry["size"]),
        crc64nvme=_checksum(entry["crc64nvme"], entry["path"]),
        mode=number(entry["mode"]) & 0o7777,
        mtime_ns=number(entry["mtime_ns"], negative=True),
        first_part=None if first is None else FirstPart(number(first["size"]), _checksum(first["crc64nvme"], entry["path"])),
    )


def _checksum(value: object, path: object) -> str:
    checksum = text(value)
    if len(base64.b64decode(checksum, validate=True)) != 8:
        raise ManifestError(f"is damaged: the checksum of {path!r} is not 8 bytes")
    return checksum


def _link(entry: dict[str, Any]) -> ManifestLink:
    path, target = safe_path(entry["path"]), text(entry["target"])
    if not stays_inside(path, target):
        raise ManifestError(f"is refused: its link {path!r} leads out of the checkpoint, to {target!r}")
    return ManifestLink(path, target)


def _companion(entry: dict[str, Any]) -> Companion:
    content = base64.b64decode(entry["content"], validate=True)
    if len(content) > COMPANION_LIMIT_BYTES:
        raise ManifestError(f"is refused: its companion {entry['path']!r} is larger than {COMPANION_LIMIT_BYTES} bytes")
    return Companion(safe_path(entry["path"]), content)


def _refuse_contradictions(manifest: Manifest) -> None:
    safe_path(manifest.name)
    if manifest.stage != manifest.name.rpartition("/")[0]:
        raise ManifestError(f"is damaged: stage {manifest.stage!r} is not the parent of {manifest.name!r}")
    if manifest.generation < 1:
        raise ManifestError("is damaged: generation is below 1")
    if sum(file.size for file in manifest.files) != manifest.total_bytes:
        raise ManifestError("is damaged: total_bytes is not the sum of its files")
    leaves = [file.path for file in manifest.files] + [link.path for link in manifest.links]
    taken = set(leaves)
    if len(taken) != len(leaves) or taken & {folder.path for folder in manifest.folders}:
        raise ManifestError("is damaged: it names one path twice")
    for path in [*leaves, *(folder.path for folder in manifest.folders)]:
        parent = path.rpartition("/")[0]
        while parent:
            if parent in taken:
                raise ManifestError(f"is refused: {path!r} would be written through {parent!r}, which is no folder")
            parent = parent.rpartition("/")[0]
    for link in manifest.links_beside:
        _refuse_astray(link, manifest)
    if manifest.unit is not Unit.DIRECTORY and (manifest.folders or manifest.links):
        raise ManifestError("is damaged: only a directory has folders and links")


def _refuse_astray(link: ManifestLink, manifest: Manifest) -> None:
    """A link beside a checkpoint may lead to it, or to one of its files, and to nothing else."""
    target = posixpath.normpath(posixpath.join(link.path.rpartition("/")[0], link.target))
    ends = {manifest.name}
    if manifest.unit is not Unit.DIRECTORY:
        ends |= {f"{manifest.stage}/{file.path}" if manifest.stage else file.path for file in manifest.files}
    below = f"{link.path}/".startswith(f"{manifest.name}/")
    if not link.target or link.target.startswith("/") or target not in ends or link.path in ends or below:
        raise ManifestError(f"is refused: its link {link.path!r} leads to {link.target!r}, which is not this checkpoint")
