"""Megatron-LM: `iter_<N>` with seven digits, and the tracker `latest_checkpointed_iteration.txt`, written when all ranks are done.

Facts: `megatron/training/checkpointing.py`, `megatron/core/dist_checkpointing/serialization.py`. Legacy: `mp_rank_<TT>[_<PPP>]/` with
the model's and the optimizer's file. Distributed: `common.pt`, shards with `.metadata`, then `metadata.json`. After a barrier (async:
in the finalising step) rank 0 writes the tracker in place. A save that was interrupted leaves its folder, and a later one writes into it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, CompleteBy, LocalCheckpoint, Unfinished, Unit, Whole
from spotguard.core.layouts import soundness
from spotguard.core.layouts.base import Circumstances, Claim, PointerText
from spotguard.core.layouts.generic_rule import lacks, long_quiet, whole_once_quiet
from spotguard.core.layouts.tree_index import Place, last_name
from spotguard.core.structure import Finding, Probe

TRACKER = "latest_checkpointed_iteration.txt"
_METADATA, _COMMON = "metadata.json", "common.pt"
_NAME = re.compile(r"^iter_([0-9]{7,})$")
_RANK = re.compile(r"^mp_rank_[0-9]")


class Megatron:
    name = "megatron"

    def recognises(self, last_name: str, unit: Unit = Unit.DIRECTORY) -> bool:
        return unit is Unit.DIRECTORY and _NAME.match(last_name) is not None

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        tracker = f"{place.path}/{TRACKER}" if place.path else TRACKER
        for folder in place.folders:
            match = _NAME.match(last_name(folder))
            if match and place.index.holds_something(folder) and (not auto or tracker in place.files or _is_megatrons(place, folder)):
                yield Claim(folder, Unit.DIRECTORY, (folder,), pointers=(PointerText(tracker, str(int(match[1]))),))

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        if decided := soundness.without_waiting(soundness.fault_in(checkpoint, findings) or _unfinished_format(checkpoint), circumstances):
            return decided
        if why := lacks(checkpoint, circumstances.predecessor):
            return Unfinished(why)
        return _tracked(checkpoint, findings, circumstances)


def _is_megatrons(place: Place, folder: str) -> bool:
    files = place.file_names_in(folder)
    return {_METADATA, _COMMON} <= files or any(map(_RANK.match, place.folder_names_in(folder)))


def _unfinished_format(checkpoint: LocalCheckpoint) -> str | None:
    paths = {file.path for file in checkpoint.files}
    if any(map(_RANK.match, paths)):
        return None
    return f"no {_METADATA} yet" if _METADATA not in paths else f"no {_COMMON} in it" if _COMMON not in paths else None


def _tracked(checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
    """The tracker names it: whole. It names a later one: it was named before, or never was, as after a crash. A lower one: wait."""
    pointer = next(iter(checkpoint.pointers), None)
    if pointer is None:
        why = f"no {TRACKER} beside it"
        return whole_once_quiet(circumstances, long_quiet(circumstances), CompleteBy.QUIET, why)
    named = (soundness.text_of(checkpoint, findings, pointer.file.path) or "").strip()
    if named == pointer.text:
        return Whole(CompleteBy.MARKER)
    if named.isdigit() and int(named) > int(pointer.text):
        why = f"{TRACKER} has gone on to {named}"
        return whole_once_quiet(circumstances, circumstances.settle_seconds, CompleteBy.MARKER, why)
    return Unfinished(f"{TRACKER} says {named or 'nothing'}, not {pointer.text}")
