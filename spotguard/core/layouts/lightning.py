"""PyTorch Lightning: `epoch=E-step=N.ckpt` and the like, one file or, with sharded strategies, a folder of that name.

Facts: `lightning/fabric/utilities/cloud_io.py` (a temporary file elsewhere is moved to the name; on another filesystem it is copied),
`callbacks/model_checkpoint.py` (names, `-v1` on a clash, `last.ckpt` as a second save or as a link to the newest), `strategies/fsdp.py`
(shards with `.metadata`, then `meta.pt` by rank 0), `strategies/deepspeed.py` (`checkpoint/` and `latest` in the folder).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, CompleteBy, LocalCheckpoint, Unfinished, Unit
from spotguard.core.layouts import soundness
from spotguard.core.layouts.base import Circumstances, Claim
from spotguard.core.layouts.file_rule import assess_file
from spotguard.core.layouts.generic_rule import lacks, whole_once_quiet
from spotguard.core.layouts.partitions import is_partition, partitioned_folders
from spotguard.core.layouts.sharding import is_metadata, is_shard
from spotguard.core.layouts.tree_index import Place, last_name
from spotguard.core.structure import Finding, Probe
from spotguard.core.temporary import looks_temporary

_SUFFIX = ".ckpt"
_NAME = re.compile(r"^(.*[-_.])?(epoch|step)=[0-9]+.*\.ckpt$|^last(-v[0-9]+)?\.ckpt$|^hpc_ckpt_[0-9]+\.ckpt$|^on_exception\.ckpt$")
_LAST = re.compile(r"^last.*\.ckpt$")
_STEP = re.compile(r"[0-9]")
_META = "meta.pt"
_DEEPSPEED = "checkpoint"
_RANKS_SECONDS = 2.0


class Lightning:
    name = "lightning"

    def recognises(self, last_name: str, unit: Unit = Unit.FILE) -> bool:
        return unit is not Unit.GROUP and _NAME.match(last_name) is not None

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        found = [path for path in place.files if path.endswith(_SUFFIX) and not looks_temporary(last_name(path))]
        known = not auto or any(self.recognises(last_name(path)) for path in found)
        kept = {link for path in (*found, *place.folders) if path not in place.index.tree.links for link in _links_to(place, path)}
        for path in found:
            if known and path not in kept:
                yield Claim(path, Unit.FILE, (path,), links=_links_to(place, path), in_place=_is_in_place(path))
        for folder in place.folders:
            if folder.endswith(_SUFFIX) and _is_sharded(place, folder):
                yield Claim(folder, Unit.DIRECTORY, (folder,), links=_links_to(place, folder), in_place=_is_in_place(folder))

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        if checkpoint.unit is Unit.FILE:
            return assess_file(checkpoint, findings, circumstances)
        if decided := soundness.without_waiting(soundness.fault_in(checkpoint, findings), circumstances):
            return decided
        paths = {file.path for file in checkpoint.files}
        partitioned = bool(partitioned_folders(paths))
        if not partitioned and _META not in paths:
            return Unfinished(f"no {_META} yet")
        if why := lacks(checkpoint, circumstances.predecessor):
            return Unfinished(why)
        first = circumstances.settle_seconds if partitioned else _RANKS_SECONDS
        known = _RANKS_SECONDS if partitioned else 0.0
        needed = first if circumstances.predecessor is None else known
        return whole_once_quiet(circumstances, needed, CompleteBy.MARKER, "other ranks may still write their shards")


def _links_to(place: Place, path: str) -> tuple[str, ...]:
    """`last.ckpt` and its like, which the callback makes anew with each save."""
    return tuple(link for link in place.links_to(path) if _LAST.match(last_name(link)))


def _is_in_place(path: str) -> bool:
    name = last_name(path)
    return bool(_LAST.match(name)) or not _STEP.search(name)


def _is_sharded(place: Place, folder: str) -> bool:
    files = place.file_names_in(folder)
    if _META in files or any(is_shard(file) or is_metadata(file) for file in files):
        return True
    return any(map(is_partition, place.file_names_in(f"{folder}/{_DEEPSPEED}")))
