"""Brings back the loose files and the companions: what lies beside a checkpoint and is no part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spotguard.core.checksum import encode_crc64
from spotguard.core.loose import LooseFile, decode_index
from spotguard.core.manifest import COMPANION_LIMIT_BYTES, Manifest, ManifestError
from spotguard.core.recovery import is_below, loose_to_bring
from spotguard.core.run_keys import ManifestKey, RunKeys
from spotguard.ports.checkpoint_volume import CannotRead, CheckpointVolume
from spotguard.ports.object_store import ObjectMissing, ObjectStore, StoreRejected
from spotguard.ports.placement import Move, NoSpace, Placement, PlacementRefused, Stage
from spotguard.ports.progress import ProgressSink
from spotguard.services.restore.arrivals import Arrivals
from spotguard.services.restore.checkpoint_staging import moves_of, refuse_too_little_space
from spotguard.services.restore.part_fetcher import Fetch, PartFetcher

COMPANION_MODE = 0o644


@dataclass(frozen=True, slots=True)
class StagedLoose:
    stage: Stage | None = None
    moves: tuple[Move, ...] = ()
    index: Mapping[str, LooseFile] | None = None
    bytes_fetched: int = 0
    warnings: tuple[str, ...] = ()


class LooseRestore:
    def __init__(
        self,
        store: ObjectStore,
        keys: RunKeys,
        placement: Placement,
        volume: CheckpointVolume,
        fetcher: PartFetcher,
        progress: ProgressSink,
    ) -> None:
        self._store = store
        self._keys = keys
        self._placement = placement
        self._volume = volume
        self._fetcher = fetcher
        self._progress = progress

    async def prepare(self, manifest: Manifest, committed: Sequence[ManifestKey]) -> StagedLoose:
        """Fetch what is not here. What is damaged, newer here or in the way is left out with a warning. Raises StoreError."""
        try:
            index = decode_index(await self._store.read(self._keys.loose_index))
        except ObjectMissing:
            return StagedLoose()
        except (ManifestError, StoreRejected) as error:
            return StagedLoose(warnings=(f"no loose files were restored: {error}",))
        bring, left = loose_to_bring(
            index,
            chosen=manifest.name,
            chosen_order=manifest.order,
            companions=(companion.path for companion in manifest.companions),
            newer=committed,
        )
        warnings = [f"{path} was not restored: it tells of a newer checkpoint" for path in left]
        own = {manifest.name, *(move.target for move in moves_of(manifest))}
        others = [file for file in bring if not any(is_below(file.path, name) for name in own)]
        wanted = [file for file in others if await self._is_wanted(file, warnings)]
        return await self._fetch(wanted, index, warnings) if wanted else StagedLoose(index=index, warnings=tuple(warnings))

    async def _is_wanted(self, file: LooseFile, warnings: list[str]) -> bool:
        if any(part.startswith(".spotguard") for part in file.path.split("/")):
            return False
        try:
            lying = await self._placement.lying(file.path)
        except PlacementRefused as error:
            warnings.append(f"{file.path} was not restored: {error}")
            return False
        if lying is None:
            return True
        if not lying.is_file:
            warnings.append(f"{file.path} was not restored: something that is no file is in its place")
            return False
        if lying.size == file.size:
            if lying.mtime_ns == file.mtime_ns:
                return False
            checksum = await self._placement.checksum(file.path)
            if checksum is not None and encode_crc64(checksum) == file.crc64nvme:
                return False
        if lying.mtime_ns >= file.mtime_ns:
            warnings.append(f"{file.path} was left as it is: it is newer here than in the bucket")
            return False
        return True

    async def _fetch(self, wanted: list[LooseFile], index: Mapping[str, LooseFile], warnings: list[str]) -> StagedLoose:
        stage = await self._placement.stage("", "loose files")
        try:
            free = await self._placement.free_bytes(stage.path(""))
            await stage.keep_only(())
            refuse_too_little_space("the loose files need", (file.size for file in wanted), free, self._placement.absolute(""))
            ordered = sorted(wanted, key=lambda file: file.size)
            fetches = [Fetch(file.path, self._keys.absolute(file.key), file.size, file.crc64nvme) for file in ordered]
            self._progress.start(sum(file.size for file in wanted), "restoring loose files")
            async with Arrivals(stage, wanted) as arrivals:
                damaged = await self._fetcher.fetch(fetches, arrivals, self._progress, go_on=True)
            bad = {damage.path for damage in damaged}
            warnings += [f"{damage.path} was not restored: {damage}" for damage in damaged]
            good = [file for file in wanted if file.path not in bad]
            for file in good:
                if file.size == 0:  # nothing arrived that could have been stamped
                    await stage.stamp(file.path, mode=file.mode, mtime_ns=file.mtime_ns)
        except NoSpace as error:
            warnings.append(f"no loose files were restored: {error}")
            await stage.end(keep=False)
            return StagedLoose(index=index, warnings=tuple(warnings))
        except BaseException:
            await stage.end(keep=False)
            raise
        finally:
            self._progress.done()
        moves = tuple(Move(file.path, file.path) for file in good)
        return StagedLoose(stage, moves, index, sum(file.size for file in good), tuple(warnings))

    async def publish(self, staged: StagedLoose, *, aside: str) -> int:
        """Give the fetched ones their names; older files that lay there are in the quarantine. Returns how many came."""
        if staged.stage is None:
            return 0
        if not staged.moves:
            await staged.stage.end(keep=False)
            return 0
        await self._placement.publish(staged.stage, staged.moves, aside=aside)
        return len(staged.moves)

    async def write_companions(self, manifest: Manifest, index: Mapping[str, LooseFile] | None) -> int:
        """The state and pointer files as they were when the checkpoint became complete. Returns how many had to be written."""
        written = 0
        for companion in manifest.companions:
            if is_below(companion.path, manifest.name) or await self._content(companion.path) == companion.content:
                continue  # what lies in the checkpoint is one of its files
            known = (index or {}).get(companion.path)
            if known is not None and known.size != len(companion.content):
                known = None
            await self._placement.write(companion.path, companion.content, mode=known.mode if known else COMPANION_MODE, mtime_ns=None)
            if known is not None and encode_crc64(await self._placement.checksum(companion.path) or 0) == known.crc64nvme:
                await self._placement.set_times({companion.path: known.mtime_ns})  # so that it is not sent again
            written += 1
        return written

    async def _content(self, path: str) -> bytes | None:
        lying = await self._placement.lying(path)
        if lying is None or not lying.is_file:
            return None
        try:
            return await self._volume.read(path, COMPANION_LIMIT_BYTES)
        except (FileNotFoundError, CannotRead):
            return None
