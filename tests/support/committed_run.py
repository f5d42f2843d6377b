"""A run as commits leave it, made by hand: files, manifests and loose files, in any object store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from awscrt.checksums import crc64nvme

from spotguard.core.checkpoint import CompleteBy, Unit, stage_of, step_of
from spotguard.core.checksum import encode_crc64
from spotguard.core.loose import LooseFile, encode_index
from spotguard.core.manifest import Companion, Host, Manifest, ManifestFile, ManifestFolder, ManifestLink
from spotguard.core.manifest_format import encode
from spotguard.core.run_keys import LOOSE, RunKeys
from spotguard.ports.object_store import ObjectStore

OLD_MACHINE = Host("old-machine", "i-0abc")
LONG_AGO = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
_NS = 1_000_000_000


def checksum(content: bytes) -> str:
    return encode_crc64(crc64nvme(content))


@dataclass
class CommittedRun:
    """`save_seconds` is how far apart checkpoints are that are committed one after another."""

    store: ObjectStore
    keys: RunKeys
    host: Host = OLD_MACHINE
    start: datetime = LONG_AGO
    save_seconds: int = 100
    saves: int = 0
    loose: dict[str, LooseFile] = field(default_factory=dict)

    async def commit(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        generation: int = 1,
        links: Mapping[str, str] | None = None,
        folders: Mapping[str, int] | None = None,
        companions: Mapping[str, bytes] | None = None,
        unit: Unit = Unit.DIRECTORY,
        layout: str = "hf-trainer",
        links_beside: Mapping[str, str] | None = None,
    ) -> Manifest:
        """Data, then manifest. File times are whole seconds and 123,456,789 ns; every second file is executable."""
        saved = int(self.start.timestamp()) + self.saves * self.save_seconds
        self.saves += 1
        entries = []
        for at, (path, content) in enumerate(sorted(files.items())):
            key = self.keys.data(name, path, is_directory=unit is Unit.DIRECTORY, version=generation)
            await self.store.create(key, content, metadata=self.keys.metadata(name))
            mode, mtime_ns = (0o755 if at % 2 else 0o600), (saved - at) * _NS + 123_456_789
            entries.append(ManifestFile(path, self.keys.relative(key), len(content), checksum(content), mode, mtime_ns))
        manifest = Manifest(
            name=name,
            stage=stage_of(name),
            step=step_of(name),
            layout=layout,
            unit=unit,
            complete_by=CompleteBy.MARKER,
            generation=generation,
            saved_at=datetime.fromtimestamp(saved, UTC),
            committed_at=datetime.fromtimestamp(saved + 1, UTC),
            reason="save",
            host=self.host,
            total_bytes=sum(entry.size for entry in entries),
            files=tuple(entries),
            links=tuple(ManifestLink(path, target) for path, target in (links or {}).items()),
            folders=tuple(ManifestFolder(path, mode) for path, mode in (folders or {}).items()),
            links_beside=tuple(ManifestLink(path, target) for path, target in (links_beside or {}).items()),
            companions=tuple(Companion(path, content) for path, content in (companions or {}).items()),
        )
        await self.store.create(self.manifest_key(manifest), encode(manifest), metadata=self.keys.metadata(name))
        return manifest

    def manifest_key(self, manifest: Manifest) -> str:
        return self.keys.manifest(manifest.name, manifest.generation, manifest.saved_at)

    async def add_loose(self, path: str, content: bytes, *, mtime: datetime | None = None) -> None:
        key = self.keys.loose(path)
        await self.store.replace(key, content, metadata=self.keys.metadata(LOOSE))
        mtime_ns = int((mtime or self.start).timestamp()) * _NS + 7
        self.loose[path] = LooseFile(path, self.keys.relative(key), len(content), checksum(content), 0o640, mtime_ns)
        await self.store.replace(self.keys.loose_index, encode_index(self.loose.values()))


def hf_files(step: int, size: int = 3000) -> dict[str, bytes]:
    """What a Trainer writes into `checkpoint-<step>`, as far as the layout's rule looks into it."""
    return {
        "config.json": b"{}",
        "model.safetensors": safetensors(step, size),
        "trainer_state.json": json.dumps({"global_step": step}).encode(),
    }


def safetensors(seed: int, size: int) -> bytes:
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes((seed + at) % 251 for at in range(size))


def content_of(folder: Path) -> dict[str, bytes]:
    """Every regular file below, by path; what is ours in temporary and quarantine folders apart."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and not any(part.startswith(".spotguard") for part in path.relative_to(folder).parts)
    }
