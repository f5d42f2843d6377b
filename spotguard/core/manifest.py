"""The commit record: a checkpoint is committed when, and only when, its manifest can be read.

This is the one format that must be kept for ever. Format 1 is JSON in UTF-8 as DESIGN.md section 3 shows it. Unknown fields are
ignored, an unknown format is refused, and so is every path that could lead out of the folder that is restored into, whoever
wrote it. Nothing here knows where manifests are kept.
"""

from __future__ import annotations

import base64
import binascii
import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from spotguard.core.checkpoint import CompleteBy, Order, Unit

FORMAT = 1
COMPANION_LIMIT_BYTES = 64 * 1024


class ManifestError(ValueError):
    """The bytes are no manifest that this version may act on. The message is one line for people."""


@dataclass(frozen=True, slots=True)
class Host:
    hostname: str
    instance_id: str | None = None


@dataclass(frozen=True, slots=True)
class FirstPart:
    """The start of a file that went in several parts: tells other content apart without reading all of it."""

    size: int
    crc64nvme: str
    """base64 of 8 bytes, big endian."""


@dataclass(frozen=True, slots=True)
class ManifestFile:
    path: str
    key: str
    """Relative to the run's prefix."""
    size: int
    crc64nvme: str
    """base64 of 8 bytes, big endian, of the whole content."""
    mode: int
    mtime_ns: int
    first_part: FirstPart | None = None
    """None for a file of one part, and where it is not known."""


@dataclass(frozen=True, slots=True)
class ManifestFolder:
    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class ManifestLink:
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Companion:
    path: str
    """Relative to the watch root."""
    content: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    name: str
    stage: str
    step: int | None
    layout: str
    unit: Unit
    complete_by: CompleteBy
    generation: int
    saved_at: datetime
    committed_at: datetime
    reason: str
    """save, interruption, shutdown, sync or adopted."""
    host: Host
    total_bytes: int
    files: tuple[ManifestFile, ...]
    folders: tuple[ManifestFolder, ...] = ()
    links: tuple[ManifestLink, ...] = ()
    companions: tuple[Companion, ...] = ()
    excluded: tuple[str, ...] = ()
    training_state: Mapping[str, Any] = field(default_factory=dict)
    links_beside: tuple[ManifestLink, ...] = ()
    """Links outside of it that lead to it (`last.ckpt`); `path` is relative to the watch root, `target` to the link's folder."""
    world_size: int | None = None
    """How many ranks wrote it, as far as its file names tell."""

    @property
    def order(self) -> Order:
        return Order(int(self.saved_at.timestamp()), -1 if self.step is None else self.step, self.generation)


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
        name=_text(document["name"]),
        stage=_text(document["stage"]),
        step=None if step is None else _number(step),
        layout=_text(document["layout"]),
        unit=Unit(document["unit"]),
        complete_by=CompleteBy(document["complete_by"]),
        generation=_number(document["generation"]),
        saved_at=parse_time(document["saved_at"]),
        committed_at=parse_time(document["committed_at"]),
        reason=_text(document["reason"]),
        host=Host(_text(host["hostname"]), host.get("instance_id")),
        total_bytes=_number(document["total_bytes"]),
        files=tuple(_file(entry) for entry in document["files"]),
        folders=tuple(ManifestFolder(safe_path(f["path"]), _number(f["mode"]) & 0o7777) for f in document.get("folders", ())),
        links=tuple(_link(entry) for entry in document.get("links", ())),
        companions=tuple(_companion(entry) for entry in document.get("companions", ())),
        excluded=tuple(_text(path) for path in document.get("excluded", ())),
        training_state=dict(document.get("training_state") or {}),
        links_beside=tuple(ManifestLink(safe_path(e["path"]), _text(e["target"])) for e in document.get("links_beside", ())),
        world_size=None if document.get("world_size") is None else _number(document["world_size"]),
    )


def _file(entry: dict[str, Any]) -> ManifestFile:
    first = entry.get("first_part")
    return ManifestFile(
        path=safe_path(entry["path"]),
        key=safe_path(entry["key"]),
        size=_number(entry["size"]),
        crc64nvme=_checksum(entry["crc64nvme"], entry["path"]),
        mode=_number(entry["mode"]) & 0o7777,
        mtime_ns=_number(entry["mtime_ns"], negative=True),
        first_part=None if first is None else FirstPart(_number(first["size"]), _checksum(first["crc64nvme"], entry["path"])),
    )


def _checksum(value: object, path: object) -> str:
    checksum = _text(value)
    if len(base64.b64decode(checksum, validate=True)) != 8:
        raise ManifestError(f"is damaged: the checksum of {path!r} is not 8 bytes")
    return checksum


def _link(entry: dict[str, Any]) -> ManifestLink:
    path, target = safe_path(entry["path"]), _text(entry["target"])
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


def safe_path(path: object) -> str:
    """`path` itself if it is relative, POSIX and stays below where it is put; raises ManifestError otherwise."""
    if not isinstance(path, str) or not path:
        raise ManifestError(f"is damaged: {path!r} is not a path")
    parts = path.split("/")
    if path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ManifestError(f"is refused: the path {path!r} leads out of the checkpoint")
    return path


def stays_inside(link: str, target: str) -> bool:
    """Whether a link at `link` (relative to a folder) with this text leads to somewhere inside that folder."""
    if not target or target.startswith("/") or "\0" in target:
        return False
    depth = link.count("/")
    for part in target.split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return False
    return True


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds: 2026-11-23T19:59:58Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: object) -> datetime:
    """The moment that an RFC 3339 text names, in UTC; raises ManifestError for anything else."""
    if not isinstance(text, str):
        raise ManifestError(f"is damaged: {text!r} is not a time")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ManifestError(f"is damaged: {text!r} is not a time") from error
    if moment.tzinfo is None:
        raise ManifestError(f"is damaged: the time {text!r} has no zone")
    return moment.astimezone(UTC)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ManifestError(f"is damaged: {value!r} is not text")
    return value


def _number(value: object, *, negative: bool = False) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or (value < 0 and not negative):
        raise ManifestError(f"is damaged: {value!r} is not a whole number")
    return value
