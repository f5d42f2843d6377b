"""Gathers the files of one committed checkpoint in a stage: what is here and right is used, the rest is fetched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from spotguard.core.checkpoint import Unit, stage_of
from spotguard.core.checksum import encode_crc64
from spotguard.core.manifest import Manifest, ManifestFile
from spotguard.core.recovery import readable_bytes
from spotguard.core.run_keys import RunKeys
from spotguard.ports.placement import Move, NoSpace, Placement, PlacementFailed, Stage
from spotguard.ports.progress import ProgressSink
from spotguard.services.part_fetcher import DamagedObject, Fetch, PartFetcher


@dataclass(frozen=True, slots=True)
class Staged:
    """A checkpoint that only waits for its name."""

    stage: Stage | None
    """None when it lies under its name already, as it should be."""
    moves: tuple[Move, ...] = ()
    fetched: tuple[str, ...] = ()
    bytes_fetched: int = 0
    reused: int = 0
    """Files that were here and right."""


class _Stamping:
    """Gives each file its time as soon as it is complete: by that a restore after a kill knows what it need not fetch again."""

    def __init__(self, stage: Stage, files: Iterable[ManifestFile]) -> None:
        self._stage = stage
        self._files = {file.path: file for file in files}

    async def open(self, path: str) -> int:
        return await self._stage.open(path)

    async def close(self, path: str, fd: int, *, durable: bool) -> None:
        await self._stage.close(path, fd, durable=durable)
        if durable:
            await self._stage.stamp(path, mode=self._files[path].mode, mtime_ns=self._files[path].mtime_ns)


class CheckpointStaging:
    def __init__(self, placement: Placement, fetcher: PartFetcher, keys: RunKeys, progress: ProgressSink) -> None:
        self._placement = placement
        self._fetcher = fetcher
        self._keys = keys
        self._progress = progress

    async def prepare(
        self,
        manifest: Manifest,
        *,
        token: str,
        lies_at: str | None,
        nothing_more: bool,
        before_fetching: Callable[[Collection[str]], Awaitable[None]],
    ) -> Staged:
        """Have every byte of the checkpoint on this disk, verified.

        `lies_at`: where a folder or file of that name lies now, whose files may be right; `nothing_more`: whether it has that very set of
        files, links and folders. `before_fetching` is called with the paths of the right ones, unless that is all. Raises DamagedObject,
        NoSpace and PlacementFailed (nothing is left behind) and StoreError; after that and when cancelled, what has come stays in the
        temporary folder for the next try."""
        right = await self._right_files(manifest, lies_at) if lies_at is not None else {}
        if nothing_more and len(right) == len(manifest.files):
            await self._correct_times(manifest)
            return Staged(None, reused=len(right))
        await before_fetching(right.keys())
        stage = await self._placement.stage(manifest.name, token)
        try:
            return await self._fill(stage, manifest, right)
        except (PlacementFailed, DamagedObject):
            await stage.end(keep=False)
            raise
        except BaseException:
            await stage.end(keep=True)
            raise

    async def _fill(self, stage: Stage, manifest: Manifest, right: dict[str, str]) -> Staged:
        staged = [file.path for file in manifest.files if await self._is_right(stage.path(file.path), file)]
        await stage.keep_only(staged)
        for folder in manifest.folders:
            await stage.folder(folder.path, folder.mode)
        here = set(staged)
        for file in manifest.files:
            if file.path in right and file.path not in here and await stage.take(file.path, right[file.path]):
                here.add(file.path)
        missing = [file for file in manifest.files if file.path not in here]
        await self._refuse_too_little_space(stage, manifest.name, missing)
        for file in missing:
            await stage.create(file.path, file.size)
        for link in manifest.links:
            await stage.link(link.path, link.target)
        size = sum(file.size for file in missing)
        self._progress.start(size, f"restoring {manifest.name}")
        try:
            await self._fetcher.fetch((self._fetch(file) for file in missing), _Stamping(stage, missing), self._progress)
        finally:
            self._progress.done()
        for file in manifest.files:
            if file.path in here or file.size == 0:
                await stage.stamp(file.path, mode=file.mode, mtime_ns=file.mtime_ns)
        return Staged(stage, moves_of(manifest), tuple(file.path for file in missing), size, len(here))

    async def _right_files(self, manifest: Manifest, lies_at: str) -> dict[str, str]:
        """Path -> where it lies, of the files whose content is what was committed."""
        found = {}
        for file in manifest.files:
            path = f"{lies_at}/{file.path}" if manifest.unit is Unit.DIRECTORY else _beside(manifest, file)
            if await self._is_right(path, file, ignore_time=True):
                found[file.path] = path
        return found

    async def _is_right(self, path: str, file: ManifestFile, *, ignore_time: bool = False) -> bool:
        lying = await self._placement.lying(path)
        if lying is None or not lying.is_file or lying.size != file.size:
            return False
        if not ignore_time and lying.mtime_ns != file.mtime_ns:
            return False  # in a stage, only what is complete has its time
        checksum = await self._placement.checksum(path)
        return checksum is not None and encode_crc64(checksum) == file.crc64nvme

    async def _correct_times(self, manifest: Manifest) -> None:
        """It is known as committed by size and time, so that nothing of it is sent again."""
        times = {}
        for file in manifest.files:
            path = f"{manifest.name}/{file.path}" if manifest.unit is Unit.DIRECTORY else _beside(manifest, file)
            lying = await self._placement.lying(path)
            if lying is not None and lying.mtime_ns != file.mtime_ns:
                times[path] = file.mtime_ns
        await self._placement.set_times(times)

    async def _refuse_too_little_space(self, stage: Stage, name: str, missing: Sequence[ManifestFile]) -> None:
        free = await self._placement.free_bytes(stage.path(""))
        try:
            refuse_too_little_space(f"{name} needs", (file.size for file in missing), free, self._placement.absolute(""))
        except NoSpace as error:
            where, size = await self._placement.quarantined()
            raise NoSpace(f"{error} ({where} holds {readable_bytes(size)})" if size else str(error)) from error

    def _fetch(self, file: ManifestFile) -> Fetch:
        return Fetch(file.path, self._keys.absolute(file.key), file.size, file.crc64nvme)


def refuse_too_little_space(what: str, sizes: Iterable[int], free: int, where: str) -> None:
    needed = sum(sizes)
    if needed > free:
        raise NoSpace(
            f"{what} {readable_bytes(needed)} ({needed} bytes) and {where} has {readable_bytes(free)} ({free} bytes) free: "
            "free some space, or restore to another disk with --to"
        )


def moves_of(manifest: Manifest) -> tuple[Move, ...]:
    """What gets which name when the checkpoint is published."""
    if manifest.unit is Unit.DIRECTORY:
        return (Move("", manifest.name),)
    return tuple(Move(file.path, _beside(manifest, file)) for file in manifest.files)


def _beside(manifest: Manifest, file: ManifestFile) -> str:
    """Where a file of a checkpoint that is no folder lies."""
    stage = stage_of(manifest.name)
    return f"{stage}/{file.path}" if stage else file.path
