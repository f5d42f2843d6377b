"""Orbax (JAX): `<step>`, `<prefix>_<step>`, zero-padded or not, made under another name and renamed when it is whole.

Facts: `orbax/checkpoint/_src/path/atomicity.py`, `step.py`. What is under construction is `<name>.orbax-checkpoint-tmp…` (never looked
at). `_CHECKPOINT_METADATA` is made with the folder and gets its commit time just before the folder is renamed; where a rename is not
atomic, and in newer versions besides it, `commit_success.txt` is written last. The items in it are made and renamed in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, CompleteBy, LocalCheckpoint, LocalFile, Unfinished, Unit, Whole
from spotguard.core.layouts import soundness
from spotguard.core.layouts.base import Circumstances, Claim
from spotguard.core.layouts.learned import lacking
from spotguard.core.layouts.tree_index import Place, last_name
from spotguard.core.structure import Finding, Probe, Structure, structure_of

METADATA, COMMITTED = "_CHECKPOINT_METADATA", "commit_success.txt"
_NAME = re.compile(r"^(.+_)?[0-9]+$")
_JSON = re.compile(r"(^|/)(_CHECKPOINT_METADATA|_METADATA|_sharding|_PYTREE_METADATA|metadata|array_metadatas/process_[0-9]+)$")
_DATA = re.compile(r"(^|/)d/[0-9a-f]{32}$")
"""A data file of an array store, named anew with each save."""


class Orbax:
    name = "orbax"

    def recognises(self, last_name: str, unit: Unit = Unit.DIRECTORY) -> bool:
        return False  # only what is in it tells

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        for folder in place.folders:
            if _NAME.match(last_name(folder)) and not place.file_names_in(folder).isdisjoint((METADATA, COMMITTED)):
                yield Claim(folder, Unit.DIRECTORY, (folder,))

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint, _structure_of)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        if decided := soundness.without_waiting(soundness.fault_in(checkpoint, findings, _structure_of), circumstances):
            return decided
        files = {file.path: file for file in checkpoint.files}
        if COMMITTED not in files and not _has_commit_time(files.get(METADATA), findings):
            return Unfinished(f"no {COMMITTED}, and no commit time in {METADATA} yet")
        if missing := lacking(checkpoint, circumstances.predecessor, but=lambda path: _DATA.search(path) is not None):
            return Unfinished(f"{missing} is not there, which the checkpoint before it had")
        return Whole(CompleteBy.MARKER)


def _structure_of(path: str) -> Structure:
    if _JSON.search(path):
        return Structure.JSON
    if _DATA.search(path):
        return Structure.ARRAY_STORE
    return Structure.NONEMPTY if last_name(path) == COMMITTED else structure_of(path)


def _has_commit_time(metadata: LocalFile | None, findings: Mapping[Probe, Finding]) -> bool:
    if metadata is None:
        return False
    finding = findings.get(soundness.probe_of(metadata, _structure_of))
    return finding is not None and type(finding.document.get("commit_timestamp_nsecs")) is int
