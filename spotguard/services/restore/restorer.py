"""The way back: one checkpoint as the trainer wrote it, byte for byte, with the state that belongs to it, or a reason why there is none.

Why what is visible is never torn. Every byte is on this disk, verified and flushed, under a temporary name before anything gets its
own name; a folder gets it by one rename, after what had the name was renamed away. Killed in between, a name is free and the next
restore finds the files it needs in the temporary folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from os.path import relpath

import structlog

from spotguard.core.checkpoint import Unit, stage_of, step_of
from spotguard.core.manifest import Host, Manifest, ManifestError
from spotguard.core.phrasing import readable_bytes
from spotguard.core.recovery import FolderTime, LocalCandidate, candidates, folder_times, newest_relatives, quarantine_name
from spotguard.core.run_keys import ManifestKey, RunKeys
from spotguard.ports.bulk_fetch import BulkFetch
from spotguard.ports.checkpoint_volume import CheckpointVolume
from spotguard.ports.clock import Clock
from spotguard.ports.object_store import ObjectStore
from spotguard.ports.part_transfer import PartTransfer
from spotguard.ports.placement import Placement
from spotguard.ports.progress import ProgressSink, SilentProgress
from spotguard.ports.writer_watch import WriterWatch
from spotguard.services.restore.catalogue import Catalogue
from spotguard.services.restore.checkpoint_staging import CheckpointStaging, Staged, moves_of
from spotguard.services.restore.links_beside import restore_links
from spotguard.services.restore.local_findings import Look
from spotguard.services.restore.local_look import LocalLook
from spotguard.services.restore.loose_restore import LooseRestore, StagedLoose
from spotguard.services.restore.nothing_found import Asked, why_nothing
from spotguard.services.restore.part_fetcher import DamagedObject, PartFetcher
from spotguard.services.restore.recovery_errors import TargetBusy
from spotguard.services.restore.restore_outcome import LeftAlone, MovedAside, RestoreOutcome, Skipped
from spotguard.services.restore.torn_checkpoints import TornCheckpoints

log = structlog.get_logger()

_LOOK_AGAIN_MARGIN_SECONDS = 0.1
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RestoreSettings:
    host: Host
    layout: str = "auto"
    settle_seconds: float = 10.0
    part_bytes: int = 16 << 20
    concurrency: int = 8


@dataclass(frozen=True, slots=True)
class RestorePorts:
    store: ObjectStore
    transfer: PartTransfer
    placement: Placement
    volume: CheckpointVolume
    """Of the same root as the placement."""
    writer_watch: WriterWatch
    clock: Clock
    bulk: BulkFetch | None = None


@dataclass(slots=True)
class _Course:
    """What is known and has happened in one restore; touched by its task only."""

    stage: str | None
    name: str | None
    listed: Sequence[ManifestKey]
    look: Look
    moved: list[MovedAside] = field(default_factory=list)
    left: list[LeftAlone] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    published: bool = False


class Restorer:
    def __init__(self, ports: RestorePorts, keys: RunKeys, settings: RestoreSettings, progress: ProgressSink | None = None) -> None:
        self._ports = ports
        self._keys = keys
        self._settings = settings
        progress = progress or SilentProgress()
        self._catalogue = Catalogue(ports.store, keys)
        fetcher = PartFetcher(ports.transfer, part_bytes=settings.part_bytes, concurrency=settings.concurrency, bulk=ports.bulk)
        self._staging = CheckpointStaging(ports.placement, fetcher, keys, progress)
        self._loose = LooseRestore(ports.store, keys, ports.placement, ports.volume, fetcher, progress)
        self._local = LocalLook(ports.volume, ports.clock, layout=settings.layout, settle_seconds=settings.settle_seconds)
        self._torn = TornCheckpoints(ports.placement, ports.writer_watch, ports.clock, settle_seconds=settings.settle_seconds)

    async def restore(self, name: str | None = None, *, stage: str | None = None) -> RestoreOutcome:
        """Have the newest whole checkpoint (of a stage; or the one of that name) under the root of the placement.

        Raises NothingToRestore, NotCommitted, OnlyDamaged, TargetBusy, PlacementFailed and its kin, StoreError, CannotRead. Failed,
        cancelled or killed: nothing half stands under any checkpoint's name; torn ones may have been moved aside."""
        began = self._ports.clock.monotonic()
        listed = await self._catalogue.list_manifests()
        async with self._ports.placement.exclusive():
            course = await self._survey(name, stage, listed)
            outcome = await self._first_that_works(course)
            await self._put_folders_in_order(course, outcome)
            await self._tell_of_quarantine(course)
        outcome = replace(
            outcome,
            seconds=round(self._ports.clock.monotonic() - began, 3),
            skipped=tuple(course.skipped),
            moved_aside=tuple(course.moved),
            left_alone=tuple(course.left),
            warnings=tuple(course.warnings),
        )
        log.info(
            "checkpoint.restored",
            checkpoint=outcome.name,
            generation=outcome.generation,
            source=outcome.source,
            fetched_bytes=outcome.bytes_fetched,
            reused_files=outcome.files_reused,
            seconds=outcome.seconds,
        )
        return outcome

    async def _survey(self, name: str | None, stage: str | None, listed: Sequence[ManifestKey]) -> _Course:
        """Look at this disk, and take the torn ones out of the way."""
        look = await self._look(listed)
        if name is None and look.ready_in_seconds is not None and look.ready_in_seconds <= self._settings.settle_seconds:
            await asyncio.sleep(look.ready_in_seconds + _LOOK_AGAIN_MARGIN_SECONDS)
            look = await self._look(listed)
        scope = stage if name is None else stage_of(name)
        known = {*(key.name for key in listed), *look.same, *(candidate.name for candidate in look.whole)}
        moved, left = await self._torn.move_aside(look, stage=scope, known=known)
        return _Course(stage, name, listed, look, moved, left)

    async def _look(self, listed: Sequence[ManifestKey]) -> Look:
        here = await self._local.names()
        committed = await self._catalogue.last_commits(listed, {*here, *newest_relatives(here, listed)})
        generations: dict[str, int] = {}
        for key in listed:
            generations[key.name] = max(key.generation, generations.get(key.name, 0))
        offset = self._ports.store.clock_offset() or 0.0
        return await self._local.look(committed, generations=generations, offset_seconds=offset)

    async def _first_that_works(self, course: _Course) -> RestoreOutcome:
        order = candidates(course.listed, course.look.whole, stage=course.stage, name=course.name)
        for candidate in order:
            if isinstance(candidate, LocalCandidate):
                return self._local_outcome(candidate)
            try:
                return await self._bring(course, await self._catalogue.read_manifest(candidate))
            except (ManifestError, DamagedObject) as error:
                course.skipped.append(Skipped(candidate.name, candidate.generation, str(error)))
                log.warning("checkpoint.skipped", checkpoint=candidate.name, generation=candidate.generation, reason=str(error))
        raise await why_nothing(
            self._ports.store,
            self._keys,
            Asked(course.stage, course.name, self._settings.layout),
            course.listed,
            tried=order,
            skipped=course.skipped,
        )

    def _local_outcome(self, candidate: LocalCandidate) -> RestoreOutcome:
        """A whole one on this disk is newer than anything committed: it stays as it is."""
        return RestoreOutcome(
            name=candidate.name,
            stage=candidate.stage,
            step=step_of(candidate.name),
            path=self._ports.placement.absolute(candidate.name),
            saved_at=datetime.fromtimestamp(candidate.order.saved_at, UTC),
            saved_by=self._settings.host.instance_id or self._settings.host.hostname,
            generation=0,
            source="local",
        )

    async def _bring(self, course: _Course, manifest: Manifest) -> RestoreOutcome:
        lies_at, nothing_more = self._where_it_lies(course, manifest)
        async with AsyncExitStack() as stages:
            staged = await self._staging.prepare(
                manifest,
                token=f"{manifest.generation} {manifest.committed_at}",
                lies_at=lies_at,
                nothing_more=nothing_more,
                before_fetching=lambda right: self._look_before(course, manifest, right),
            )
            if staged.stage is not None:
                stages.push_async_callback(staged.stage.end, keep=True)  # without effect once it is published
            loose = await self._loose.prepare(manifest, course.listed)
            if loose.stage is not None:
                stages.push_async_callback(loose.stage.end, keep=False)
            return await self._publish(course, manifest, staged, loose)

    async def _publish(self, course: _Course, manifest: Manifest, staged: Staged, loose: StagedLoose) -> RestoreOutcome:
        """Give everything its name, the checkpoint last."""
        now = self._ports.clock.wall()
        if staged.stage is not None:
            await self._refuse_busy(course, manifest)
        course.warnings += loose.warnings
        companions = await self._loose.write_companions(manifest, loose.index)
        loose_count = await self._loose.publish(loose, aside=quarantine_name("loose files", now))
        if staged.stage is not None:
            aside = await self._ports.placement.publish(staged.stage, staged.moves, aside=quarantine_name(manifest.name, now))
            course.published = True
            if aside is not None:
                course.moved.append(MovedAside(manifest.name, aside, "it was not what was committed"))
        course.moved += await restore_links(self._ports.placement, manifest, course.look.tree, now)
        return RestoreOutcome(
            name=manifest.name,
            stage=manifest.stage,
            step=manifest.step,
            path=self._ports.placement.absolute(manifest.name),
            saved_at=manifest.saved_at,
            saved_by=manifest.host.instance_id or manifest.host.hostname,
            generation=manifest.generation,
            source="remote",
            world_size=manifest.world_size,
            files_fetched=len(staged.fetched),
            bytes_fetched=staged.bytes_fetched,
            files_reused=staged.reused,
            companions_written=companions,
            loose_fetched=loose_count,
            loose_bytes_fetched=loose.bytes_fetched,
        )

    def _where_it_lies(self, course: _Course, manifest: Manifest) -> tuple[str | None, bool]:
        """Where files of the checkpoint are on this disk, and whether exactly its files lie under its name."""
        moved = next((moved for moved in course.moved if moved.name == manifest.name), None)
        if moved is not None:
            is_folder = manifest.unit is Unit.DIRECTORY
            return (relpath(moved.to, self._ports.placement.absolute("")) if is_folder else None), False
        if manifest.name in course.look.tree.links:
            return None, False  # another place's files are not used, and the link is moved, not followed
        local = course.look.inventory.checkpoints.get(manifest.name)
        nothing_more = (
            local is not None
            and local.unit is manifest.unit
            and {file.path for file in local.files} == {file.path for file in manifest.files}
            and dict(local.links) == {link.path: link.target for link in manifest.links}
            and {folder.path for folder in manifest.folders} <= {path for path, _ in local.folders}
        )
        return manifest.name, nothing_more

    async def _look_before(self, course: _Course, manifest: Manifest, right: Collection[str]) -> None:
        """Find out at little cost what would fail in the end: an object that is gone, or a trainer in the way."""
        absent = await self._catalogue.absent_objects(manifest)
        for file in manifest.files:
            if file.path not in right and (reason := absent.get(self._keys.absolute(file.key))) is not None:
                raise DamagedObject(file.path, reason)
        await self._refuse_busy(course, manifest)

    async def _refuse_busy(self, course: _Course, manifest: Manifest) -> None:
        """What is written right now is never replaced."""
        paths = [move.target for move in moves_of(manifest) if await self._ports.placement.lying(move.target) is not None]
        busy = await self._torn.busy(course.look, manifest.name, paths) if paths else None
        if busy is not None:
            raise TargetBusy(
                f"{self._ports.placement.absolute(manifest.name)} is not what was committed, but {busy}",
                "stop the trainer or wait, then restore again; or restore to another folder with --to",
            )

    async def _tell_of_quarantine(self, course: _Course) -> None:
        """What was moved aside is the trainer's, so only its owner deletes it, who must know of it."""
        where, size = await self._ports.placement.quarantined()
        if size:
            course.warnings.append(f"{where} holds {readable_bytes(size)} that restores moved aside: delete it when you need none of it")

    async def _put_folders_in_order(self, course: _Course, outcome: RestoreOutcome) -> None:
        """Trainers that rotate by folder time must not take the newest for the oldest."""
        gone = {moved.name for moved in course.moved} | {left.name for left in course.left}
        folders = []
        for name, order in course.look.orders.items():
            local = course.look.inventory.checkpoints[name]
            if local.unit is not Unit.DIRECTORY or name in gone or name == outcome.name or local.stage != outcome.stage:
                continue
            folders.append(FolderTime(name, order, course.look.tree.folders[name].mtime_ns))
            if (step_of(name) or 0) > (outcome.step or 0) and order.saved_at < outcome.saved_at.timestamp():
                course.warnings.append(f"{name} has a higher step but is older: a trainer that goes by the number would take it")
        lying = await self._ports.placement.lying(outcome.name)
        if lying is None or lying.is_file:
            return
        own = next((key.order for key in course.listed if (key.name, key.generation) == (outcome.name, outcome.generation)), None)
        own = own or course.look.orders[outcome.name]
        natural = int(outcome.saved_at.timestamp()) * _NS if course.published else lying.mtime_ns
        now_ns = int(self._ports.clock.wall().timestamp() * _NS)
        times = dict(folder_times([*folders, FolderTime(outcome.name, own, natural)], now_ns=now_ns))
        if course.published:
            times.setdefault(outcome.name, natural)
        await self._ports.placement.set_times(times)
