"""Gathers the files of one committed checkpoint in a stage: what is here and right is used, the rest is fetched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from spotguard.core.checkpoint import Unit, stage_of
from spotguard.core.checksum import encode_crc64
from spotguard.core.manifest import Manifest, ManifestFile
from spotguard.core.phrasing import readable_bytes
from spotguard.core.run_keys import RunKeys
from spotguard.ports.placement import Move, NoSpace, Placement, PlacementFailed, Stage
from spotguard.ports.progress import ProgressSink
from spotguard.services.restore.arrivals import Arrivals
from spotguard.services.restore.part_fetcher import DamagedObject, Fetch, PartFetcher


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
        staged = await self._right({stage.path(file.path): file for file in manifest.files})
        await stage.keep_only([file.path for file in staged.values()])
        for folder in manifest.folders:
            await stage.folder(folder.path, folder.mode)
        here = {file.path for file in staged.values()}
        for file in manifest.files:
            if file.path in right and file.path not in here and await stage.take(file.path, right[file.path]):
                here.add(file.path)
        missing = [file for file in manifest.files if file.path not in here]
        await self._refuse_too_little_space(stage, manifest.name, missing)
        for link in manifest.links:
            await stage.link(link.path, link.target)
        size = sum(file.size for file in missing)
        self._progress.start(size, f"restoring {manifest.name}")
        try:
            async with Arrivals(stage, missing) as arrivals:
                fetches = [self._fetch(file) for file in sorted(missing, key=lambda file: file.size)]
                await self._fetcher.fetch(fetches, arrivals, self._progress)
        finally:
            self._progress.done()
        for file in manifest.files:
            if file.path in here or file.size == 0:
                await stage.stamp(file.path, mode=file.mode, mtime_ns=file.mtime_ns)
        return Staged(stage, moves_of(manifest), tuple(file.path for file in missing), size, len(here))

    async def _right_files(self, manifest: Manifest, lies_at: str) -> dict[str, str]:
        """Path -> where it lies, of the files whose content is what was committed."""
        in_folder = manifest.unit is Unit.DIRECTORY
        places = {f"{lies_at}/{file.path}" if in_folder else _beside(manifest, file): file for file in manifest.files}
        return {file.path: place for place, file in (await self._right(places, ignore_time=True)).items()}

    async def _right(self, places: Mapping[str, ManifestFile], *, ignore_time: bool = False) -> dict[str, ManifestFile]:
        """Those that lie there with the content that was committed."""
        right = {}
        for place, lying in (await self._placement.all_lying(list(places))).items():
            file = places[place]
            if not lying.is_file or lying.size != file.size:
                continue
            if not ignore_time and lying.mtime_ns != file.mtime_ns:
                continue  # in a stage, only what is complete has its time
            checksum = await self._placement.checksum(place)
            if checksum is not None and encode_crc64(checksum) == file.crc64nvme:
                right[place] = file
        return right

    async def _correct_times(self, manifest: Manifest) -> None:
        """It is known as committed by size and time, so that nothing of it is sent again."""
        in_folder = manifest.unit is Unit.DIRECTORY
        wanted = {f"{manifest.name}/{file.path}" if in_folder else _beside(manifest, file): file.mtime_ns for file in manifest.files}
        lying = await self._placement.all_lying(list(wanted))
        await self._placement.set_times({path: wanted[path] for path, found in lying.items() if found.mtime_ns != wanted[path]})

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
