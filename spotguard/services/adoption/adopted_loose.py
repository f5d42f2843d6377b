"""Makes the loose files that another tool put into the prefix known to a restore, by the index that names them."""

from __future__ import annotations

from collections.abc import Mapping

from spotguard.core.adoption import ForeignObject
from spotguard.core.checkpoint import LocalFile
from spotguard.core.checksum import encode_crc64
from spotguard.core.loose import LooseFile, encode_index
from spotguard.core.run_keys import LOOSE, RunKeys
from spotguard.ports.object_store import ObjectExists, ObjectStore
from spotguard.services.adoption.object_sums import NotTheSame, ObjectSums


async def adopt_loose(
    store: ObjectStore, sums: ObjectSums, keys: RunKeys, loose: Mapping[str, LocalFile], objects: Mapping[str, ForeignObject]
) -> int:
    """Write `loose.json` if this run has none; how many files it names. One that is there already is kept. Raises StoreError."""
    files: list[LooseFile] = []
    if not loose or await store.list(keys.loose_index, limit=1):
        return 0
    for path, file in loose.items():
        found = objects[file.source]
        try:
            summed = (await sums.of({path: (keys.absolute(file.source), found)}, path))[path]
        except NotTheSame:
            continue  # ours, or being written: the daemon sends it again
        files.append(LooseFile(path, file.source, found.size, encode_crc64(summed.crc64nvme), file.stat.mode, file.stat.mtime_ns))
    try:
        await store.create(keys.loose_index, encode_index(files), metadata=keys.metadata(LOOSE))
    except ObjectExists:
        return 0
    return len(files)
