"""A torch.distributed.checkpoint (DCP) of its own, as torchtitan writes it to `step-<N>`: shards in place, `.metadata` last.

What proves it whole, and its sources, are in `sharding.py`. torchtitan's own loader takes the highest step whose folder holds `.metadata`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, CompleteBy, LocalCheckpoint, Unfinished, Unit, Whole
from spotguard.core.layouts import soundness
from spotguard.core.layouts.base import Circumstances, Claim
from spotguard.core.layouts.generic_rule import whole_once_quiet
from spotguard.core.layouts.learned import lacking
from spotguard.core.layouts.sharding import is_metadata, is_shard
from spotguard.core.layouts.tree_index import Place, last_name
from spotguard.core.structure import Finding, Probe

_AT_THE_ROOT = "distcp"
"""The name of the checkpoint whose files lie in the watch root itself."""


class Dcp:
    name = "dcp"

    def recognises(self, last_name: str, unit: Unit = Unit.DIRECTORY) -> bool:
        return False  # only what is in it tells: torchtitan's `step-<N>` is anybody's name

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        for folder in place.folders:
            files = place.file_names_in(folder)
            if any(map(is_shard, files)) or (not auto and any(map(is_metadata, files))):
                yield Claim(folder, Unit.DIRECTORY, (folder,), in_place=not re.search(r"[0-9]", last_name(folder)))
        members = tuple(path for path in place.files if is_shard(path) or is_metadata(path))
        if not place.path and any(map(is_shard, members)):
            yield Claim(_AT_THE_ROOT, Unit.GROUP, members, in_place=True)

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        if decided := soundness.without_waiting(soundness.fault_in(checkpoint, findings) or _no_metadata(checkpoint), circumstances):
            return decided
        # All ranks had written their shards before `.metadata` got its name, so which ranks there are is known from it.
        if missing := lacking(checkpoint, circumstances.predecessor, but=is_shard):
            return Unfinished(f"{missing} is not there, which the checkpoint before it had")
        if circumstances.predecessor is None and checkpoint.unit is Unit.DIRECTORY:
            return whole_once_quiet(circumstances, circumstances.settle_seconds, CompleteBy.MARKER, "the first one may get more files")
        return Whole(CompleteBy.MARKER)


def _no_metadata(checkpoint: LocalCheckpoint) -> str | None:
    return None if any(is_metadata(file.path) for file in checkpoint.files) else "no .metadata yet"
