"""The structural checks of a whole checkpoint (checkpoint-layouts.md section 1): what any layout asks of its files."""

from __future__ import annotations

from collections.abc import Mapping

from spotguard.core.checkpoint import LocalCheckpoint, LocalFile
from spotguard.core.structure import Finding, Probe, Structure, must_be_opened, structure_of

INDEX_SUFFIX = ".index.json"
"""`model.safetensors.index.json`: names the shards of a model in its `weight_map`."""


def probes_of(checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
    """Every file whose inside tells whether it ends."""
    return tuple(probe_of(file) for file in checkpoint.files if file.stat.size and must_be_opened(structure_of(file.path)))


def probe_of(file: LocalFile) -> Probe:
    return Probe(file.source, file.stat, structure_of(file.path))


def fault_in(checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding]) -> str | None:
    """Why a file cannot be whole as it is, as one clause; None when all that can be checked is sound."""
    paths = {file.path for file in checkpoint.files}
    for file in checkpoint.files:
        structure = structure_of(file.path)
        if structure is Structure.ANY:
            continue
        if not file.stat.size:
            return f"{file.path} is empty"
        if not must_be_opened(structure):
            continue
        finding = findings.get(probe_of(file))
        if finding is None:
            return f"{file.path} has not been looked into yet"
        if not finding.sound:
            return finding.reason if file.path in finding.reason else f"{file.path} {finding.reason}"
        if file.path.endswith(INDEX_SUFFIX) and (missing := missing_shard(file.path, finding, paths)):
            return f"{missing} is not there, which {file.path} names"
    return None


def missing_shard(index_path: str, finding: Finding, paths: set[str]) -> str | None:
    """The first shard that an index names and that is not there."""
    weight_map = finding.document.get("weight_map")
    if not isinstance(weight_map, Mapping):
        return None
    folder = index_path.rpartition("/")[0]
    shards = {shard for shard in weight_map.values() if isinstance(shard, str)}
    wanted = {f"{folder}/{shard}" if folder else shard for shard in shards}
    return min(wanted - paths, default=None)
