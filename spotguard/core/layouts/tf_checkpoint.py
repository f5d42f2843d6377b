"""TensorFlow's `tf.train.Checkpoint`: `<prefix>.index` and `<prefix>.data-<i>-of-<M>`, and `checkpoint`, which names the newest prefix.

Facts: `tensorflow/python/checkpoint/checkpoint_management.py`, `functional_saver.py`, `core/util/tensor_bundle`. Shards are written to
`<prefix>_temp/part-*` and merged: the data files are renamed into place, then the index is written; last comes `checkpoint`, by rename.
The index tells how long each data file must be. `checkpoint` may hold absolute paths, so a restore writes one that names the prefix alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, CompleteBy, LocalCheckpoint, Unit, Whole
from spotguard.core.layouts import soundness
from spotguard.core.layouts.base import Circumstances, Claim, PointerText
from spotguard.core.layouts.generic_rule import whole_once_quiet
from spotguard.core.layouts.tree_index import Place, last_name
from spotguard.core.structure import Finding, Probe, Structure, structure_of

POINTER = "checkpoint"
_INDEX = ".index"
_DATA = re.compile(r"\.data-[0-9]{5}-of-([0-9]{5})$")
_TEMPORARY = re.compile(r"_temp(_[0-9a-f]{32})?$")
_NAMED = re.compile(r'^model_checkpoint_path: "(?:[^"]*/)?([^"/]+)"', re.MULTILINE)


class TfCheckpoint:
    name = "tf-checkpoint"

    def recognises(self, last_name: str, unit: Unit = Unit.FILE) -> bool:
        return unit is Unit.FILE and _DATA.search(last_name) is not None

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        if _TEMPORARY.search(last_name(place.path)):
            return
        pointer = f"{place.path}/{POINTER}" if place.path else POINTER
        for prefix, members in _by_prefix(place).items():
            has_data = any(_DATA.search(path) for path in members)
            if has_data or pointer in place.files or not auto:  # others have files of the name `.index`, too
                text = f'model_checkpoint_path: "{last_name(prefix)}"\nall_model_checkpoint_paths: "{last_name(prefix)}"\n'
                yield Claim(prefix, Unit.GROUP, members, pointers=(PointerText(pointer, text),), pending=_pending(place, prefix))

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint, _structure_of)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        if decided := soundness.without_waiting(
            soundness.fault_in(checkpoint, findings, _structure_of) or _fault_in_data(checkpoint, findings), circumstances
        ):
            return decided
        prefix = last_name(checkpoint.name)
        for pointer in checkpoint.pointers:
            if _NAMED.findall(soundness.text_of(checkpoint, findings, pointer.file.path) or "") == [prefix]:
                return Whole(CompleteBy.MARKER)
        why = f"{POINTER} does not name {prefix}"
        return whole_once_quiet(circumstances, circumstances.settle_seconds, CompleteBy.MARKER, why)


def _structure_of(path: str) -> Structure:
    return Structure.TENSOR_INDEX if path.endswith(_INDEX) else Structure.ANY if _DATA.search(path) else structure_of(path)


def _by_prefix(place: Place) -> Mapping[str, tuple[str, ...]]:
    members: dict[str, list[str]] = defaultdict(list)
    for path in place.files:
        if match := _DATA.search(path):
            members[path[: match.start()]].append(path)
        elif path.endswith(_INDEX):
            members[path.removesuffix(_INDEX)].append(path)
    return {prefix: tuple(sorted(paths)) for prefix, paths in members.items() if last_name(prefix)}


def _pending(place: Place, prefix: str) -> str:
    for folder in place.folders:
        if folder.startswith(f"{prefix}_temp") and _TEMPORARY.search(folder):
            return f"{last_name(folder)} is still there"
    return ""


def _fault_in_data(checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding]) -> str | None:
    """Why the data files are not what the index tells of."""
    index = next((file for file in checkpoint.files if file.path.endswith(_INDEX)), None)
    if index is None:
        return f"no {last_name(checkpoint.name)}{_INDEX} yet"
    finding = findings[soundness.probe_of(index, _structure_of)]
    wanted = finding.document.get("data_bytes", ())
    sizes = {file.path: file.stat.size for file in checkpoint.files}
    for number, least in enumerate(wanted):
        path = f"{index.path.removesuffix(_INDEX)}.data-{number:05d}-of-{len(wanted):05d}"
        if path not in sizes:
            return f"{path} is not there, which {index.path} tells of"
        if sizes[path] < least:
            return f"{path} has {sizes[path]} of the {least} bytes that {index.path} tells of"
    return None
