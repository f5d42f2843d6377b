"""A look at the checkpoints on this disk, before anything is brought back to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from spotguard.core.checkpoint import Inventory, Tree
from spotguard.core.manifest import Manifest
from spotguard.ports.checkpoint_volume import CheckpointVolume
from spotguard.ports.clock import Clock
from spotguard.services.restore.local_findings import Look


class LocalLook:
    """In an empty folder, which a new machine has, there is nothing to judge: then no layout is loaded either."""

    def __init__(self, volume: CheckpointVolume, clock: Clock, *, layout: str, settle_seconds: float) -> None:
        self._volume = volume
        self._clock = clock
        self._layout = layout
        self._settle_seconds = settle_seconds

    async def names(self) -> Collection[str]:
        """The names of the checkpoints on disk. Raises CannotRead."""
        tree = await self._volume.scan()
        if _is_empty(tree):
            return ()
        from spotguard.core.layouts.identify import identify

        return identify(tree, self._layout).checkpoints.keys()

    async def look(self, committed: Mapping[str, Manifest], *, generations: Mapping[str, int], offset_seconds: float) -> Look:
        """Examine every checkpoint on disk. `committed`: the last commit of names, where there is one that can be read;
        `generations`: of the last commit, readable or not; `offset_seconds`: to add to file times to have them in S3's clock."""
        tree = await self._volume.scan()
        if _is_empty(tree):
            return Look(tree, Inventory({}, {}, {}, frozenset()))
        from spotguard.services.restore.local_judgement import LocalJudgement

        judgement = LocalJudgement(self._volume, self._clock, layout=self._layout, settle_seconds=self._settle_seconds)
        return await judgement.of(tree, committed, generations, offset_seconds)


def _is_empty(tree: Tree) -> bool:
    """Whether nothing was found that any layout could have a word on."""
    return not (tree.files or tree.folders or tree.links or tree.unreadable or tree.special or tree.excluded)
