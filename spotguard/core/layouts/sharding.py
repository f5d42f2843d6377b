"""torch.distributed.checkpoint (DCP), as a checkpoint of its own or as a folder in another framework's.

Facts: `torch/distributed/checkpoint/filesystem.py`. All ranks write and fsync their shards `__<rank>_<n>.distcp` in place; then the
coordinator writes `.metadata.tmp`, fsyncs it and renames it to `.metadata`, which names the shards. Saving into a folder that holds a
checkpoint leaves the old `.metadata` there until then. Without collectives each rank has a `__<rank>.metadata` of its own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from spotguard.core.checkpoint import LocalCheckpoint, LocalFile
from spotguard.core.structure import Finding

_SHARD = re.compile(r"^__[0-9]+_[0-9]+\.distcp$")
_METADATA = re.compile(r"^(__[0-9]+)?\.metadata$")
_BEFORE_IT = re.compile(r"^(__[0-9]+)?\.metadata\.tmp$")


def is_shard(path: str) -> bool:
    return _SHARD.match(path.rpartition("/")[2]) is not None


def is_metadata(path: str) -> bool:
    return _METADATA.match(path.rpartition("/")[2]) is not None


def is_metadata_to_be(path: str) -> bool:
    """Whether it is the metadata under the name that it has until it is whole. (`*.tmp` is excluded unless told otherwise.)"""
    return _BEFORE_IT.match(path.rpartition("/")[2]) is not None


def fault_in_sharding(checkpoint: LocalCheckpoint, finding_of: Callable[[LocalFile], Finding | None]) -> str | None:
    """Why one of the folders with shards, or with metadata, is not whole; None when all are, or there is none."""
    for path in sorted((*(file.path for file in checkpoint.files), *checkpoint.excluded)):
        if is_metadata_to_be(path):
            return f"{path} is still there"
    for folder, files in _sharded_folders(checkpoint.files).items():
        if fault := _fault_in_folder(folder, files, finding_of):
            return fault
    return None


def _sharded_folders(files: Iterable[LocalFile]) -> Mapping[str, list[LocalFile]]:
    folders: dict[str, list[LocalFile]] = defaultdict(list)
    for file in files:
        if is_shard(file.path) or is_metadata(file.path):
            folders[file.path.rpartition("/")[0]].append(file)
    return folders


def _fault_in_folder(folder: str, files: list[LocalFile], finding_of: Callable[[LocalFile], Finding | None]) -> str | None:
    inside = f"{folder}/" if folder else ""
    metadata = [file for file in files if is_metadata(file.path)]
    shards = {file.path: file for file in files if is_shard(file.path)}
    if not metadata:
        return f"no {inside}.metadata yet"
    for file in metadata:
        finding = finding_of(file)
        if finding is None or not finding.sound:
            if not shards:
                continue  # whatever it is, it is not that of shards
            return f"{file.path} {'has not been looked into yet' if finding is None else finding.reason or 'is not sound'}"
        wanted = {f"{inside}{name}": least for name, least in finding.document.get("shards", {}).items()}
        if missing := min(wanted.keys() - shards.keys(), default=None):
            return f"{missing} is not there, which {file.path} names"
        for path, least in wanted.items():
            if (size := shards[path].stat.size) < least:
                return f"{path} has {size} of the {least} bytes that {file.path} tells of"
            if shards[path].stat.mtime_ns > file.stat.mtime_ns:
                return f"{path} is newer than {file.path}: it is being saved again"
    return None
