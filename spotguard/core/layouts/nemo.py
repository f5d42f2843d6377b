"""NeMo 1 and 2: checkpoints named as Lightning names them, each with an empty marker `<name>-unfinished` beside it while it is written.

Facts: `nemo/utils/callbacks/nemo_model_checkpoint.py`, and the same marker in NeMo 2's `nemo.lightning` ModelCheckpoint. The marker's
name is the checkpoint's without `.ckpt`, `.nemo` and `-EMA`, and without the `mp_rank_<R>/` (`tp_rank_<R>_pp_rank_<P>/`) folder in which
each model-parallel rank of NeMo 1 has its own file. It is made before the first byte, removed after a barrier when all is written, and
it is there again while the checkpoint is deleted. At its start NeMo deletes what still has one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, CompleteBy, LocalCheckpoint, Unfinished, Unit
from spotguard.core.layouts import soundness
from spotguard.core.layouts.base import Circumstances, Claim
from spotguard.core.layouts.generic_rule import lacks, whole_once_quiet
from spotguard.core.layouts.tree_index import Place, last_name
from spotguard.core.structure import Finding, Probe

MARKER = "-unfinished"
_NAME = re.compile(r"(^|[-_.])(step|epoch)=[0-9]+")
_NEMO = re.compile(r"consumed_samples=|megatron|--")
_RANK = re.compile(r"^(mp_rank_[0-9]+|tp_rank_[0-9]+_pp_rank_[0-9]+)$")
_ENDING = re.compile(r"(-EMA)?(\.ckpt|\.nemo)?$")
_FOLDERS = frozenset({"weights", "context"})


class NeMo:
    name = "nemo"

    def recognises(self, last_name: str, unit: Unit = Unit.FILE) -> bool:
        return unit is not Unit.GROUP and _NAME.search(last_name) is not None and _NEMO.search(last_name) is not None

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        for folder in place.folders:
            if _is_distributed(place, folder, auto=auto):
                yield Claim(folder, Unit.DIRECTORY, (folder,), pending=_pending(place, folder))
        for path in place.files:
            if path.endswith(".ckpt") and _is_nemos(place, path, auto=auto):
                yield Claim(path, Unit.FILE, (path,), pending=_pending(place, path))
        for name, members in _by_rank(place).items():
            yield Claim(name, Unit.GROUP, members, pending=_pending(place, name))

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        if not checkpoint.files:
            return Unfinished("no file in it yet")
        if decided := soundness.without_waiting(soundness.fault_in(checkpoint, findings), circumstances):
            return decided
        if why := lacks(checkpoint, circumstances.predecessor):
            return Unfinished(why)
        why = f"its {MARKER} marker is gone"
        return whole_once_quiet(circumstances, circumstances.settle_seconds, CompleteBy.MARKER, why)


def _pending(place: Place, path: str) -> str:
    """The marker may be made a moment after the folder, so a checkpoint is not whole at once where there is none."""
    marker = _ENDING.sub("", path) + MARKER
    return f"{last_name(marker)} is still there" if marker in place.index.tree.files else ""


def _is_nemos(place: Place, path: str, *, auto: bool) -> bool:
    name = last_name(path)
    return _NAME.search(name) is not None and (not auto or _NEMO.search(name) is not None or bool(_pending(place, path)))


def _is_distributed(place: Place, folder: str, *, auto: bool) -> bool:
    if _RANK.match(last_name(folder)) or not place.index.holds_something(folder):
        return False
    parts = place.folder_names_in(folder)
    return _is_nemos(place, folder, auto=auto) or (_NAME.search(last_name(folder)) is not None and parts >= _FOLDERS)


def _by_rank(place: Place) -> Mapping[str, tuple[str, ...]]:
    """NeMo 1 with model parallelism: the same name in the folder of each rank."""
    members: dict[str, list[str]] = defaultdict(list)
    for folder in place.folders:
        if _RANK.match(last_name(folder)):
            for path in place.index.entries(folder).files:
                if path.endswith(".ckpt") and _NAME.search(last_name(path)):
                    name = last_name(path).removesuffix(".ckpt")
                    members[f"{place.path}/{name}" if place.path else name].append(path)
    return {name: tuple(sorted(paths)) for name, paths in members.items()}
