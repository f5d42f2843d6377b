"""The structural checks of a whole checkpoint (docs/layouts.md): what any layout asks of its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from spotguard.core.checkpoint import Assessment, CompleteBy, LocalCheckpoint, LocalFile, Unfinished, Whole
from spotguard.core.layouts.base import Circumstances
from spotguard.core.layouts.partitions import LATEST, fault_in_partitions
from spotguard.core.layouts.sharding import fault_in_sharding, is_metadata
from spotguard.core.structure import Finding, Probe, Structure, must_be_opened, structure_of

INDEX_SUFFIX = ".index.json"
"""`model.safetensors.index.json`: names the shards of a model in its `weight_map`."""

StructureOf = Callable[[str], Structure]
"""What the path of a file promises about its inside; a layout may know better than the suffix."""


def probes_of(checkpoint: LocalCheckpoint, structure: StructureOf = structure_of) -> tuple[Probe, ...]:
    """Every file whose inside tells whether it ends, and the pointer files."""
    probes = [probe_of(file, structure) for file in checkpoint.files if file.stat.size]
    pointers = (Probe(pointer.file.source, pointer.file.stat, Structure.TEXT) for pointer in checkpoint.pointers)
    return (*(probe for probe in probes if must_be_opened(probe.structure)), *pointers)


def probe_of(file: LocalFile, structure: StructureOf = structure_of) -> Probe:
    return Probe(file.source, file.stat, _of_shards(file.path) or structure(file.path))


def _of_shards(path: str) -> Structure | None:
    """What these names mean only beside shards or partitions: by themselves they are no fault, whatever is in them."""
    if is_metadata(path):
        return Structure.DCP_METADATA
    return Structure.TEXT if path.rpartition("/")[2] == LATEST else None


def fault_in(checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], structure: StructureOf = structure_of) -> str | None:
    """Why a file cannot be whole as it is, as one clause; None when all that can be checked is sound."""
    paths = {file.path for file in checkpoint.files}
    for file in checkpoint.files:
        probe = probe_of(file, structure)
        if probe.structure is Structure.ANY or _of_shards(file.path):
            continue
        if not file.stat.size:
            return f"{file.path} is empty"
        if not must_be_opened(probe.structure):
            continue
        finding = findings.get(probe)
        if finding is None:
            return f"{file.path} has not been looked into yet"
        if not finding.sound:
            return finding.reason if file.path in finding.reason else f"{file.path} {finding.reason}"
        if file.path.endswith(INDEX_SUFFIX) and (missing := missing_shard(file.path, finding, paths)):
            return f"{missing} is not there, which {file.path} names"

    def finding_of(file: LocalFile) -> Finding | None:
        return findings.get(probe_of(file, structure))

    return fault_in_sharding(checkpoint, finding_of) or fault_in_partitions(checkpoint, finding_of)


def without_waiting(fault: str | None, circumstances: Circumstances) -> Assessment | None:
    """What is known already: not whole by this fault, or whole because the trainer said so, which replaces markers, quiet and what
    the checkpoint before had, but not the checks of structure. None where the layout's own rule decides."""
    if fault:
        return Unfinished(fault)
    return Whole(CompleteBy.DECLARED) if circumstances.declared else None


def text_of(checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], path: str) -> str | None:
    """What a pointer file says; None when it is not there or is no text."""
    for pointer in checkpoint.pointers:
        if pointer.file.path == path:
            finding = findings.get(Probe(pointer.file.source, pointer.file.stat, Structure.TEXT))
            return str(finding.document.get("text", "")) if finding is not None and finding.sound else None
    return None


def has_ended(checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], structure: StructureOf = structure_of) -> bool:
    """Whether every file has an end that is written last, and it is there: then nobody is still writing it."""
    answers = [findings.get(probe_of(file, structure)) for file in checkpoint.files]
    return bool(answers) and all(answer is not None and answer.sound and answer.ended for answer in answers)


def missing_shard(index_path: str, finding: Finding, paths: set[str]) -> str | None:
    """The first shard that an index names and that is not there."""
    weight_map = finding.document.get("weight_map")
    if not isinstance(weight_map, Mapping):
        return None
    folder = index_path.rpartition("/")[0]
    shards = {shard for shard in weight_map.values() if isinstance(shard, str)}
    wanted = {f"{folder}/{shard}" if folder else shard for shard in shards}
    return min(wanted - paths, default=None)
