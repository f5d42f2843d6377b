"""Examines what a scan found: is it what was committed, is it whole, and what belongs to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from spotguard.core.checkpoint import Assessment, LocalCheckpoint, LocalFile, Unfinished, Whole
from spotguard.core.checksum import encode_crc64
from spotguard.core.comparison import Likeness, compare, settle_by_content
from spotguard.core.layouts.assess import assess, probes_for
from spotguard.core.layouts.base import Circumstances
from spotguard.core.layouts.learned import Predecessors, paths_of
from spotguard.core.layouts.soundness import fault_in
from spotguard.core.manifest import COMPANION_LIMIT_BYTES, Companion, Manifest
from spotguard.ports.checkpoint_volume import CannotRead, CheckpointVolume
from spotguard.ports.offload import Offload
from spotguard.services.upload.commit import Capture, whole_seconds

STATE_FILE = "training_state.json"


class Examination:
    def __init__(self, volume: CheckpointVolume, offload: Offload, *, settle_seconds: float) -> None:
        self._volume = volume
        self._offload = offload
        self._settle_seconds = settle_seconds
        self._checksums: dict[tuple[LocalFile, int], str] = {}
        """Of a content's first so many bytes."""
        self.predecessors = Predecessors()

    async def likeness(self, local: LocalCheckpoint, committed: Manifest) -> Likeness:
        """Whether what lies on disk is what was committed; reads a file only where size and time can not tell."""
        comparison = compare(local, committed)
        if comparison.likeness is not Likeness.UNSURE:
            return comparison.likeness
        first_parts = {file.path: file.first_part for file in committed.files}
        for file in comparison.unsure:
            first = first_parts[file.path]
            if first is not None and await self._checksum(file, first.size) != first.crc64nvme:
                return Likeness.CHANGED  # its end need not be read to know that
        checksums = {}
        for file in comparison.unsure:
            checksum = await self._checksum(file, file.stat.size)
            if checksum is None:
                return Likeness.CHANGED
            checksums[file.path] = checksum
        return settle_by_content(comparison, committed, checksums)

    async def assess(self, local: LocalCheckpoint, *, quiet_seconds: float, declared: bool, writer_died: bool) -> Assessment:
        if why := local.broken or local.pending:
            return Unfinished(why)
        count = len(local.files)
        findings = await self._volume.probe(await self._offload(count, lambda: probes_for(local)))
        circumstances = Circumstances(
            quiet_seconds=quiet_seconds,
            settle_seconds=self._settle_seconds,
            declared=declared,
            writer_died=writer_died,
            predecessor=self.predecessors.of(local),
        )
        found = await self._offload(count, lambda: assess(local, findings, circumstances))
        if isinstance(found, Unfinished) and quiet_seconds >= self._settle_seconds and fault_in(local, findings) is None:
            self.predecessors.note(local)
        return found

    def learn(self, manifest: Manifest) -> None:
        """A committed checkpoint was whole."""
        saved_ns = int(manifest.saved_at.timestamp()) * 1_000_000_000
        paths = (*(file.path for file in manifest.files), *(link.path for link in manifest.links))
        self.predecessors.add(manifest.name, manifest.layout, saved_ns, paths)

    async def capture(
        self, local: LocalCheckpoint, whole: Whole, *, others: Iterable[LocalCheckpoint], offset_seconds: float, now: float
    ) -> Capture:
        """The checkpoint as it is now, with its companions as they are now. `now` is the local wall clock, seconds since the epoch."""
        companions = await self._companions(local, tuple(others))
        self.predecessors.add(local.name, local.layout, local.saved_ns, paths_of(local))
        return Capture(
            checkpoint=local,
            complete_by=whole.by,
            companions=companions,
            training_state=training_state_of(companions, local.stage),
            saved_at=whole_seconds(local.saved_ns, offset_seconds, now=now),
        )

    async def _companions(self, local: LocalCheckpoint, others: tuple[LocalCheckpoint, ...]) -> tuple[Companion, ...]:
        stats = await self._volume.stat(local.companions)
        taken = []
        for path in local.companions:
            stat = stats.get(path)
            if stat is None or _belongs_to_a_newer_one(local, stat.mtime_ns, others):
                continue
            try:
                content = await self._volume.read(path, COMPANION_LIMIT_BYTES)
            except (FileNotFoundError, CannotRead):
                continue
            if len(content) <= COMPANION_LIMIT_BYTES:
                taken.append(Companion(path, content))
        taken.extend(Companion(pointer.file.path, pointer.text.encode()) for pointer in local.pointers)
        return tuple(taken)

    async def _checksum(self, file: LocalFile, size: int) -> str | None:
        """Of the first `size` bytes; None for a file that is gone, may not be read or changes."""
        if (file, size) not in self._checksums:
            try:
                held = await self._volume.hold(file.source)
            except (FileNotFoundError, CannotRead):
                return None
            try:
                checksum = encode_crc64(await self._volume.checksum(held, 0, size))
                if held.stat[:5] != file.stat[:5] or not held.unchanged():
                    return None
            finally:
                held.close()
            if len(self._checksums) > 50_000:
                self._checksums.clear()
            self._checksums[file, size] = checksum
        return self._checksums[file, size]


def _belongs_to_a_newer_one(local: LocalCheckpoint, mtime_ns: int, others: tuple[LocalCheckpoint, ...]) -> bool:
    """A state file that was written after a newer checkpoint tells of that one, not of this (seen when a daemon starts late)."""
    return any(other.name != local.name and local.saved_ns < other.saved_ns <= mtime_ns for other in others)


def training_state_of(companions: tuple[Companion, ...], stage: str) -> Mapping[str, object]:
    """The nearest training state: the stage's own, else the watch root's."""
    by_path = {companion.path: companion.content for companion in companions}
    for path in (f"{stage}/{STATE_FILE}" if stage else STATE_FILE, STATE_FILE):
        if path in by_path:
            try:
                document = json.loads(by_path[path])
            except (ValueError, RecursionError):
                return {}
            return document if isinstance(document, dict) else {}
    return {}
