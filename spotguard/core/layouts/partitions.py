"""DeepSpeed's files, as a checkpoint of its own or as a folder in another framework's.

Facts: `deepspeed/runtime/engine.py`, `save_checkpoint`. In `<save_dir>/<tag>/` there are model states (`mp_rank_MM_model_states.pt`, with
ZeRO-3 one per rank) and each rank's `[bf16_]zero_pp_rank_R_mp_rank_MM_optim_states.pt`; then rank 0 writes the tag into
`<save_dir>/latest` and only after that waits for the other ranks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from spotguard.core.checkpoint import LocalCheckpoint, LocalFile
from spotguard.core.layouts.ranks import missing_rank
from spotguard.core.structure import Finding

LATEST = "latest"
_MODEL = re.compile(r"(^|_|-)model_states\.pt$")
_OPTIMIZER = re.compile(r"(^|_)optim_states\.pt$")
_PER_RANK = re.compile(r"(?P<rank>zero_pp_rank_[0-9]+_mp_rank_[0-9]+)_(?P<what>model|optim)_states\.pt$")


def is_partition(path: str) -> bool:
    return bool(_MODEL.search(path) or _OPTIMIZER.search(path))


def partitioned_folders(paths: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """The folders with DeepSpeed's files in them, and these files."""
    folders: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        if is_partition(path):
            folders[path.rpartition("/")[0]].append(path)
    return {folder: tuple(files) for folder, files in folders.items()}


def fault_in_partitions(checkpoint: LocalCheckpoint, finding_of: Callable[[LocalFile], Finding | None]) -> str | None:
    """Why one of these folders is not whole by what is in it; None when all are, or there is none."""
    for folder, paths in partitioned_folders(file.path for file in checkpoint.files).items():
        if fault := _fault_in_folder(folder, paths) or _not_the_latest(folder, checkpoint, finding_of):
            return fault
    return None


def _fault_in_folder(folder: str, paths: tuple[str, ...]) -> str | None:
    where = f" in {folder}" if folder else ""
    if not any(map(_MODEL.search, paths)):
        return f"no model states{where} yet"
    if missing := missing_rank(paths):
        return f"{missing} is not there, though a higher rank's is"
    per_rank: dict[str, set[str]] = {"model": set(), "optim": set()}
    for path in paths:
        if match := _PER_RANK.search(path):
            per_rank[match["what"]].add(match["rank"])
    if per_rank["model"] and per_rank["optim"] and (odd := per_rank["model"] ^ per_rank["optim"]):
        return f"{min(odd)}{where} has not both its model and its optimizer states"
    return None


def _not_the_latest(folder: str, checkpoint: LocalCheckpoint, finding_of: Callable[[LocalFile], Finding | None]) -> str | None:
    """Within another framework's checkpoint `latest` lies beside the folder, and names it once rank 0 is done."""
    if not folder:
        return None
    above, _, tag = folder.rpartition("/")
    path = f"{above}/{LATEST}" if above else LATEST
    pointer = next((file for file in checkpoint.files if file.path == path), None)
    if pointer is None:
        return f"no {path} yet, which names {tag}"
    finding = finding_of(pointer)
    named = str(finding.document.get("text", "")).strip() if finding is not None and finding.sound else ""
    return None if named == tag else f"{path} names {named or 'nothing'}, not {tag}"
