"""Keras' BackupAndRestore: `latest.weights.h5`, then `training_metadata.json`, both written over at each save and removed at the end.

Facts: `keras/src/callbacks/backup_and_restore.py`. With `double_checkpoint` the pair before is copied first, to the same names with
`.bkp` (earlier: with `_` before them). The metadata is written when the weights are whole, so while a save is under way the weights or a
copy are newer than the metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, CompleteBy, LocalCheckpoint, Unfinished, Unit, Whole
from spotguard.core.layouts import soundness
from spotguard.core.layouts.base import Circumstances, Claim
from spotguard.core.layouts.generic_rule import long_quiet, whole_once_quiet
from spotguard.core.layouts.tree_index import Place, last_name
from spotguard.core.structure import Finding, Probe, Structure, structure_of

WEIGHTS, METADATA = "latest.weights.h5", "training_metadata.json"
_NAME = "latest"
_MEMBER = re.compile(rf"^_?({re.escape(WEIGHTS)}|{re.escape(METADATA)})(\.bkp)?$")


class KerasBackup:
    name = "keras-backup"

    def recognises(self, last_name: str, unit: Unit = Unit.FILE) -> bool:
        return unit is Unit.FILE and last_name == WEIGHTS

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        members = tuple(path for path in place.files if _MEMBER.match(last_name(path)))
        if any(last_name(path) == WEIGHTS for path in members) or (not auto and members):
            name = f"{place.path}/{_NAME}" if place.path else _NAME
            yield Claim(name, Unit.GROUP, members, in_place=True)

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint, _structure_of)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        if fault := soundness.fault_in(checkpoint, findings, _structure_of):
            return Unfinished(fault)
        saved = {file.path: file.stat.mtime_ns for file in checkpoint.files}
        if WEIGHTS not in saved:
            return Unfinished(f"no {WEIGHTS} yet")
        if circumstances.declared:
            return Whole(CompleteBy.DECLARED)
        if METADATA not in saved:
            # Somebody else's callback may have written a file of that name, alone.
            return whole_once_quiet(circumstances, long_quiet(circumstances), CompleteBy.QUIET, f"no {METADATA}")
        if newer := [path for path, moment in sorted(saved.items()) if moment > saved[METADATA]]:
            return Unfinished(f"{newer[0]} is newer than {METADATA}: it is being saved again")
        return Whole(CompleteBy.MARKER)


def _structure_of(path: str) -> Structure:
    return structure_of(path.removesuffix(".bkp"))
