"""A run in a bucket of memory, as commits leave it, and what must be true of it whatever is deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from spotguard.core.checkpoint import CompleteBy, Unit, stage_of, step_of
from spotguard.core.checksum import encode_crc64
from spotguard.core.manifest import Host, Manifest, ManifestError, ManifestFile
from spotguard.core.manifest_format import decode, encode
from spotguard.core.run_keys import RunKeys
from spotguard.ports.object_store import ObjectStore
from tests.support.memory_store import MemoryBucket, MemoryObject
from tests.support.virtual_time import VirtualClock

KEYS = RunKeys("b", "runs/1")


class RunInBucket:
    """What commits and others have put there; times are those of the virtual clock."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.bucket = MemoryBucket(self.clock)

    def put(self, relative: str, metadata: Mapping[str, str] | None = None, body: bytes = b"x") -> str:
        key = KEYS.absolute(relative)
        self.bucket.write("put", key, body, metadata, only_new=True)
        return key

    def manifest(self, name: str, generation: int, keys: Sequence[str]) -> Manifest:
        now = self.clock.wall().replace(microsecond=0)
        return Manifest(
            name=name,
            stage=stage_of(name),
            step=step_of(name),
            layout="generic-dir",
            unit=Unit.DIRECTORY,
            complete_by=CompleteBy.QUIET,
            generation=generation,
            saved_at=now - timedelta(seconds=2),
            committed_at=now,
            reason="save",
            host=Host("here"),
            total_bytes=sum(len(self.bucket.objects[key].body) for key in keys),
            files=tuple(
                ManifestFile(f"f{n}", KEYS.relative(key), len(self.bucket.objects[key].body), encode_crc64(0), 0o644, 0)
                for n, key in enumerate(keys)
            ),
        )

    def commit(self, name: str, generation: int = 1, *, files: int = 2, reused: Sequence[str] = ()) -> str:
        """Data first, then the manifest, at once; returns the manifest's key."""
        version = "" if generation == 1 else f"@{generation}"
        keys = [self.put(f"{name}/f{n}{version}", KEYS.metadata(name)) for n in range(files)]
        return self.put_manifest(self.manifest(name, generation, [*keys, *reused]))

    def put_manifest(self, manifest: Manifest) -> str:
        key = KEYS.manifest(manifest.name, manifest.generation, manifest.saved_at)
        self.bucket.write("create", key, encode(manifest), KEYS.metadata(manifest.name), only_new=True)
        return key

    def manifests(self) -> dict[str, Manifest]:
        """All that can be read."""
        found = {}
        for key, stored in self.bucket.objects.items():
            if key.startswith(KEYS.manifests):
                try:
                    found[key] = decode(stored.body)
                except ManifestError:
                    continue
        return found

    def broken(self) -> list[str]:
        """Promise 1: the objects that a readable manifest names and that are not there."""
        return [
            f"{key} names {file.key}"
            for key, manifest in self.manifests().items()
            for file in manifest.files
            if KEYS.absolute(file.key) not in self.bucket.objects
        ]

    @property
    def present(self) -> set[str]:
        """Relative keys."""
        return {KEYS.relative(key) for key in self.bucket.objects}

    def data(self) -> dict[str, MemoryObject]:
        return {key: stored for key, stored in self.bucket.objects.items() if not key.startswith(KEYS.own)}


class Interrupted(Exception):
    """The process ended here."""


class StoreThatEnds:
    """Lets so many requests through, then none; the last one is done or not done before it ends."""

    def __init__(self, store: ObjectStore, requests: int, *, does_the_last: bool) -> None:
        self._store = store
        self._left = requests
        self._does_the_last = does_the_last
        self.ended = False

    def __getattr__(self, verb: str) -> object:
        target = getattr(self._store, verb)
        if verb == "clock_offset":
            return target

        async def request(*args: object, **options: object) -> object:
            self._left -= 1
            if self._left < 0:
                if self._left == -1 and self._does_the_last:
                    await target(*args, **options)
                self.ended = True
                raise Interrupted(verb)
            return await target(*args, **options)

        return request
