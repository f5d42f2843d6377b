"""Commits what another tool put into the prefix: the layout's rule over the objects, a checksum of each, then the manifest.

Nothing is moved, copied or deleted. The objects carry no metadata of ours, so the janitor never takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from spotguard.core.adoption import ForeignObject, Uploaded, companions_of, saved_times, tree_of_objects
from spotguard.core.checkpoint import LocalCheckpoint, LocalFile, Unfinished, Whole
from spotguard.core.layouts.assess import assess, probes_for
from spotguard.core.layouts.base import Circumstances
from spotguard.core.layouts.identify import identify
from spotguard.core.layouts.learned import Predecessors
from spotguard.core.manifest import COMPANION_LIMIT_BYTES, Companion, Host, Manifest
from spotguard.core.run_keys import RunKeys
from spotguard.core.structure import Finding, Probe
from spotguard.ports.clock import Clock
from spotguard.ports.object_inspection import ObjectInspector
from spotguard.ports.object_store import ObjectMissing, ObjectStore, StoreRejected
from spotguard.services.adoption.adopted_loose import adopt_loose
from spotguard.services.adoption.object_sums import NotTheSame, ObjectSums
from spotguard.services.replication.examination import training_state_of
from spotguard.services.restore.catalogue import Catalogue
from spotguard.services.restore.recovery_errors import NothingToRestore
from spotguard.services.restore.uncommitted import named
from spotguard.services.upload.checkpoint_upload import SentFile
from spotguard.services.upload.commit import Capture, ForeignManifest, NotAsSent, check_uploads, create_manifest, draft


@dataclass(frozen=True, slots=True)
class Adopted:
    name: str
    files: int
    bytes: int
    bytes_read: int
    """What had to be read because the store kept no checksum of the whole object."""


@dataclass(frozen=True, slots=True)
class AdoptOutcome:
    adopted: tuple[Adopted, ...]
    already: tuple[str, ...]
    """Names that are committed: left as they are."""
    refused: tuple[tuple[str, str], ...]
    """(name, reason)."""
    loose: int = 0
    """Loose files that a restore brings from now on."""


@dataclass(frozen=True, slots=True)
class _Found:
    """All that lies in the run, as one listing showed it."""

    objects: Mapping[str, ForeignObject]
    checkpoints: Mapping[str, LocalCheckpoint]
    loose: Mapping[str, LocalFile]
    saved: Mapping[str, int]
    newest_of_stage: Mapping[str, str]
    newest: str

    def in_order(self) -> list[LocalCheckpoint]:
        """The oldest first, so that each can be held against the one before it."""
        return sorted(self.checkpoints.values(), key=lambda c: _order(self.saved, c))


class Adoption:
    def __init__(
        self,
        store: ObjectStore,
        inspector: ObjectInspector,
        sums: ObjectSums,
        keys: RunKeys,
        clock: Clock,
        host: Host,
        *,
        layout: str,
        settle_seconds: float,
        leaves_out: Callable[[str], bool],
    ) -> None:
        """`leaves_out`: whether a path is excluded by configuration."""
        self._store = store
        self._inspector = inspector
        self._sums = sums
        self._keys = keys
        self._clock = clock
        self._host = host
        self._layout = layout
        self._settle_seconds = settle_seconds
        self._leaves_out = leaves_out
        self._predecessors = Predecessors()

    async def adopt(self, name: str | None = None) -> AdoptOutcome:
        """Commit all that is whole, or NAME. What is half is refused with its reason.

        Raises NothingToRestore where nothing looks like a checkpoint (of that name), StoreError. Cancelled or failed: what was
        committed by then stays committed; calling again goes on."""
        found = await self._look()
        if name is not None and name not in found.checkpoints:
            has = named(sorted(found.checkpoints, reverse=True), at_most=5) or "no checkpoint at all"
            raise NothingToRestore(f"nothing to adopt: {self._keys.url} has no checkpoint {name}; it has {has}")
        if not found.checkpoints:
            raise NothingToRestore(f"nothing to adopt: {self._keys.url} has nothing that looks like a checkpoint")
        catalogue = Catalogue(self._store, self._keys)
        listed = await catalogue.list_manifests()
        committed = {key.name for key in listed}
        for manifest in (await catalogue.last_commits(listed, committed & found.checkpoints.keys())).values():
            self._learn(manifest)
        adopted: list[Adopted] = []
        refused: list[tuple[str, str]] = []
        wanted = [checkpoint for checkpoint in found.in_order() if name in (None, checkpoint.name)]
        for checkpoint in wanted:
            if checkpoint.name in committed:
                continue
            try:
                adopted.append(await self._adopt_one(checkpoint, found))
            except _Half as reason:
                refused.append((checkpoint.name, str(reason)))
        already = tuple(checkpoint.name for checkpoint in wanted if checkpoint.name in committed)
        loose = await adopt_loose(self._store, self._sums, self._keys, found.loose, found.objects) if adopted and name is None else 0
        return AdoptOutcome(tuple(adopted), already, tuple(refused), loose)

    async def _look(self) -> _Found:
        own = len(self._keys.root)
        listed = await self._store.list(self._keys.root)
        objects = {o.key[own:]: ForeignObject(o.size, o.etag, o.modified) for o in listed if not o.key.startswith(self._keys.own)}
        inventory = identify(tree_of_objects(objects, self._leaves_out), self._layout)
        filled = {name: checkpoint for name, checkpoint in inventory.checkpoints.items() if checkpoint.files}
        uploads = [_uploaded(checkpoint, objects) for checkpoint in filled.values()]
        saved = saved_times(uploads)
        ordered = sorted(filled.values(), key=lambda c: _order(saved, c))
        newest_of_stage = {checkpoint.stage: checkpoint.name for checkpoint in ordered}
        return _Found(objects, filled, inventory.loose, saved, newest_of_stage, ordered[-1].name if ordered else "")

    async def _adopt_one(self, checkpoint: LocalCheckpoint, found: _Found) -> Adopted:
        """Raises _Half."""
        whole = await self._assess(checkpoint, found)
        sent: dict[str, SentFile] = {}
        try:
            summed = await self._sums.of({file.path: self._object(file.source, found) for file in checkpoint.files}, checkpoint.name)
        except NotTheSame as error:
            raise _Half(str(error)) from error
        for file in checkpoint.files:
            result = summed[file.path]
            sent[file.path] = SentFile(file.stat, result.key, result.etag, result.crc64nvme)
        capture = await self._capture(checkpoint, whole, found)
        manifest = draft(
            capture,
            sent,
            keys=self._keys,
            generation=1,
            reason="adopted",
            host=self._host,
            committed_at=self._now(),
        )
        try:
            await check_uploads(self._store, self._keys, capture, sent)
            await create_manifest(self._store, self._keys, manifest)
        except NotAsSent as error:
            raise _Half(f"{named(error.paths)} changed while it was being looked at: stop what writes here") from error
        except ForeignManifest as error:
            raise _Half("somebody else has just committed it") from error
        self._learn(manifest)
        read = sum(result.bytes_read for result in summed.values())
        return Adopted(checkpoint.name, len(checkpoint.files), checkpoint.total_bytes, read)

    def _object(self, source: str, found: _Found) -> tuple[str, ForeignObject]:
        return self._keys.absolute(source), found.objects[source]

    async def _assess(self, checkpoint: LocalCheckpoint, found: _Found) -> Whole:
        """Raises _Half. A doubt that only quiet would settle on a disk is settled by nothing here: a half copy is quiet for ever."""
        if checkpoint.broken:
            raise _Half(checkpoint.broken)
        predecessor = self._predecessors.of(checkpoint)
        if checkpoint.doubt and predecessor is None:
            raise _Half(f"{checkpoint.doubt}; if it is whole, say so with --set watch.layout={checkpoint.layout}")
        findings: dict[Probe, Finding] = {}
        for probe in probes_for(checkpoint):
            findings[probe] = await self._finding(probe, found)
        quiet = self._now().timestamp() - max(found.objects[file.source].modified for file in checkpoint.files)
        circumstances = Circumstances(quiet_seconds=quiet, settle_seconds=self._settle_seconds, predecessor=predecessor)
        assessment = assess(checkpoint, findings, circumstances)
        if isinstance(assessment, Unfinished):
            raise _Half(assessment.reason)
        return assessment

    def _learn(self, manifest: Manifest) -> None:
        saved_ns = int(manifest.saved_at.timestamp()) * 1_000_000_000
        self._predecessors.add(manifest.name, manifest.layout, saved_ns, (file.path for file in manifest.files))

    async def _finding(self, probe: Probe, found: _Found) -> Finding:
        key, stored = self._object(probe.source, found)
        try:
            return await self._inspector.look(key, size=stored.size, etag=stored.etag, structure=probe.structure)
        except (ObjectMissing, StoreRejected) as error:
            return Finding(False, f"can not be looked into: {error}")

    async def _capture(self, checkpoint: LocalCheckpoint, whole: Whole, found: _Found) -> Capture:
        companions = []
        for path in companions_of(checkpoint, found.newest_of_stage, found.newest):
            try:
                companions.append(Companion(path, await self._store.read(self._keys.absolute(path), max_bytes=COMPANION_LIMIT_BYTES)))
            except (ObjectMissing, StoreRejected):
                continue
        companions += [Companion(pointer.file.path, pointer.text.encode()) for pointer in checkpoint.pointers]
        return Capture(
            checkpoint=checkpoint,
            complete_by=whole.by,
            companions=tuple(companions),
            training_state=training_state_of(tuple(companions), checkpoint.stage),
            saved_at=datetime.fromtimestamp(found.saved[checkpoint.name], UTC),
        )

    def _now(self) -> datetime:
        return self._clock.wall() + timedelta(seconds=self._store.clock_offset() or 0.0)


class _Half(Exception):
    """It cannot be adopted; `str()` is the reason, as one clause."""


def _order(saved: Mapping[str, int], checkpoint: LocalCheckpoint) -> tuple[int, int, str]:
    step = checkpoint.step
    return saved[checkpoint.name], -1 if step is None else step, checkpoint.name


def _uploaded(checkpoint: LocalCheckpoint, objects: Mapping[str, ForeignObject]) -> Uploaded:
    times: Sequence[float] = [objects[file.source].modified for file in checkpoint.files]
    return Uploaded(checkpoint.name, min(times), max(times))
