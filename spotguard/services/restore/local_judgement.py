"""What of the checkpoints in a scan is whole, what is torn, and what is being written right now. Knows the layouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from spotguard.core.checkpoint import LocalCheckpoint, Order, Tree, Unfinished, Unit, Whole, stage_of
from spotguard.core.comparison import Likeness
from spotguard.core.layouts.identify import identify
from spotguard.core.layouts.learned import paths_of
from spotguard.core.layouts.registry import LAYOUTS
from spotguard.core.manifest import Manifest
from spotguard.core.recovery import LocalCandidate, layout_of_relative
from spotguard.ports.checkpoint_volume import CheckpointVolume
from spotguard.ports.clock import Clock
from spotguard.ports.offload import at_once
from spotguard.services.replication.examination import Examination
from spotguard.services.restore.local_findings import Look, Torn
from spotguard.services.upload.commit import whole_seconds

_NS = 1_000_000_000


class LocalJudgement:
    def __init__(self, volume: CheckpointVolume, clock: Clock, *, layout: str, settle_seconds: float) -> None:
        self._volume = volume
        self._clock = clock
        self._layout = layout
        self._settle_seconds = settle_seconds

    async def of(self, tree: Tree, committed: Mapping[str, Manifest], generations: Mapping[str, int], offset_seconds: float) -> Look:
        """See `LocalLook.look`."""
        inventory = identify(tree, self._layout)
        examination = Examination(self._volume, at_once, settle_seconds=self._settle_seconds)
        for manifest in committed.values():
            examination.learn(manifest)
        same: list[str] = []
        whole: list[LocalCandidate] = []
        torn: list[Torn] = []
        waits: list[tuple[Order, float]] = []
        orders: dict[str, Order] = {}
        for found in sorted(inventory.checkpoints.values(), key=lambda local: local.saved_ns):
            local = replace(found, layout=_known_layout(found, committed))
            last = committed.get(local.name)
            saved_at = int(whole_seconds(local.saved_ns, offset_seconds, now=self._clock.wall().timestamp()).timestamp())
            orders[local.name] = Order.of(saved_at, local.step, generations.get(local.name, 0) + 1)
            verdict = await self._judge(examination, local, last)
            if verdict is Likeness.SAME and last is not None:
                same.append(local.name)
                orders[local.name] = last.order
            elif isinstance(verdict, Whole):
                whole.append(LocalCandidate(local.name, orders[local.name]))
            elif isinstance(verdict, Unfinished) and local.broken is None:  # a broken one can not be stored, but may well be whole
                torn.append(Torn(local.name, verdict.reason, local.layout, _places(local)))
                if verdict.waits_only_for_quiet:
                    waits.append((orders[local.name], verdict.ready_in_seconds or self._settle_seconds))
        newest_known = max((m.order for m in committed.values()), default=None)
        worth_it = [seconds for order, seconds in waits if newest_known is None or order > newest_known]
        return Look(tree, inventory, frozenset(same), tuple(whole), tuple(torn), orders, max(worth_it, default=None))

    async def _judge(self, examination: Examination, local: LocalCheckpoint, manifest: Manifest | None) -> Likeness | Whole | Unfinished:
        if manifest is not None and local.broken is None:
            likeness = await examination.likeness(local, manifest)
            if likeness is Likeness.SAME:
                return likeness
            if likeness is Likeness.SHRUNK:
                return Unfinished("files of its last commit are missing")
        quiet = max(0.0, self._clock.wall().timestamp() - local.newest_change_ns / _NS)
        found = await examination.assess(local, quiet_seconds=quiet, declared=False, writer_died=False)
        if isinstance(found, Whole):
            examination.predecessors.add(local.name, local.layout, local.saved_ns, paths_of(local))
        return found


def _known_layout(local: LocalCheckpoint, committed: Mapping[str, Manifest]) -> str:
    layout = layout_of_relative(local.name, local.layout, committed.values())
    return layout if layout in LAYOUTS else local.layout  # committed by a later version of ours


def _places(local: LocalCheckpoint) -> tuple[str, ...]:
    if local.unit is Unit.DIRECTORY:
        return (local.name,)
    stage = stage_of(local.name)
    return tuple(f"{stage}/{file.path}" if stage else file.path for file in local.files)
