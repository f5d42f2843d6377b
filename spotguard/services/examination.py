"""Examines what a scan found: is it what was committed, is it whole, and what belongs to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spotguard.core.checkpoint import Assessment, LocalCheckpoint, LocalFile, Unfinished, Whole, generalised, stage_of
from spotguard.core.checksum import encode_crc64
from spotguard.core.comparison import Likeness, compare, settle_by_content
from spotguard.core.layouts.assess import assess, probes_for
from spotguard.core.layouts.base import Circumstances
from spotguard.core.manifest import COMPANION_LIMIT_BYTES, Companion, Manifest
from spotguard.ports.checkpoint_volume import CannotRead, CheckpointVolume
from spotguard.services.commit import Capture, whole_seconds

STATE_FILE = "training_state.json"


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The file set of a whole checkpoint, to hold the next one of its stage and layout against."""

    name: str
    saved_ns: int
    paths: tuple[str, ...]


class Predecessors:
    """Per stage and layout, the file sets of the newest whole checkpoints seen."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[str, Predecessor]] = {}

    def add(self, name: str, layout: str, saved_ns: int, paths: Iterable[str]) -> None:
        known = self._known.setdefault((stage_of(name), layout), {})
        known[name] = Predecessor(name, saved_ns, tuple(paths))
        while len(known) > 3:
            del known[min(known.values(), key=lambda p: p.saved_ns).name]

    def add_committed(self, manifest: Manifest) -> None:
        saved_ns = int(manifest.saved_at.timestamp()) * 1_000_000_000
        self.add(manifest.name, manifest.layout, saved_ns, (file.path for file in manifest.files))

    def of(self, checkpoint: LocalCheckpoint) -> tuple[str, ...] | None:
        known = self._known.get((checkpoint.stage, checkpoint.layout), {})
        others = [p for p in known.values() if p.name != checkpoint.name and generalised(p.name) == generalised(checkpoint.name)]
        return max(others, key=lambda p: p.saved_ns).paths if others else None


class Examination:
    def __init__(self, volume: CheckpointVolume, *, settle_seconds: float) -> None:
        self._volume = volume
        self._settle_seconds = settle_seconds
        self._checksums: dict[LocalFile, str] = {}
        self.predecessors = Predecessors()

    async def likeness(self, local: LocalCheckpoint, committed: Manifest) -> Likeness:
        """Whether what lies on disk is what was committed; reads a file only where size and time can not tell."""
        comparison = compare(local, committed)
        if comparison.likeness is not Likeness.UNSURE:
            return comparison.likeness
        checksums = {}
        for file in comparison.unsure:
            checksum = await self._checksum(file)
            if checksum is None:
                return Likeness.CHANGED
            checksums[file.path] = checksum
        return settle_by_content(comparison, committed, checksums)

    async def assess(self, local: LocalCheckpoint, *, quiet_seconds: float, declared: bool, writer_died: bool) -> Assessment:
        if local.broken:
            return Unfinished(local.broken)
        findings = await self._volume.probe(probes_for(local))
        circumstances = Circumstances(
            quiet_seconds=quiet_seconds,
            settle_seconds=self._settle_seconds,
            declared=declared,
            writer_died=writer_died,
            predecessor=self.predecessors.of(local),
        )
        return assess(local, findings, circumstances)

    async def capture(self, local: LocalCheckpoint, whole: Whole, *, others: Iterable[LocalCheckpoint], offset_seconds: float) -> Capture:
        """The checkpoint as it is now, with its companions as they are now."""
        companions = await self._companions(local, tuple(others))
        self.predecessors.add(local.name, local.layout, local.saved_ns, (file.path for file in local.files))
        return Capture(
            checkpoint=local,
            complete_by=whole.by,
            companions=companions,
            training_state=_training_state(companions, local.stage),
            saved_at=whole_seconds(local.saved_ns, offset_seconds),
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
        return tuple(taken)

    async def _checksum(self, file: LocalFile) -> str | None:
        if file not in self._checksums:
            try:
                held = await self._volume.hold(file.source)
            except (FileNotFoundError, CannotRead):
                return None
            try:
                checksum = encode_crc64(await self._volume.checksum(held))
                if held.stat[:5] != file.stat[:5] or not held.unchanged():
                    return None
            finally:
                held.close()
            if len(self._checksums) > 50_000:
                self._checksums.clear()
            self._checksums[file] = checksum
        return self._checksums[file]


def _belongs_to_a_newer_one(local: LocalCheckpoint, mtime_ns: int, others: tuple[LocalCheckpoint, ...]) -> bool:
    """A state file that was written after a newer checkpoint tells of that one, not of this (seen when a daemon starts late)."""
    return any(other.name != local.name and local.saved_ns < other.saved_ns <= mtime_ns for other in others)


def _training_state(companions: tuple[Companion, ...], stage: str) -> Mapping[str, object]:
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
