"""DeepSpeed's own checkpoints: `<tag>/`, by default `global_step<N>`, and `latest` beside it, which holds the tag.

`latest` is written by rank 0 when it is done itself, so other ranks may still be writing (see `partitions.py` for the source).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, CompleteBy, LocalCheckpoint, Unfinished, Unit, step_of
from spotguard.core.layouts import soundness
from spotguard.core.layouts.base import Circumstances, Claim, PointerText
from spotguard.core.layouts.generic_rule import lacks, long_quiet, whole_once_quiet
from spotguard.core.layouts.partitions import LATEST, is_partition
from spotguard.core.layouts.tree_index import Place, last_name
from spotguard.core.structure import Finding, Probe

_NAME = re.compile(r"^global_step[0-9]+$")

RANKS_SECONDS = 2.0
"""How long all must be quiet once every file that the one before had is there: a rank may write over what it wrote before."""


class DeepSpeed:
    name = "deepspeed"

    def recognises(self, last_name: str, unit: Unit = Unit.DIRECTORY) -> bool:
        return unit is Unit.DIRECTORY and _NAME.match(last_name) is not None

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        latest = f"{place.path}/{LATEST}" if place.path else LATEST
        for folder in place.folders:
            if any(map(is_partition, place.file_names_in(folder))):
                yield Claim(folder, Unit.DIRECTORY, (folder,), pointers=(PointerText(latest, last_name(folder)),))

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        if decided := soundness.without_waiting(soundness.fault_in(checkpoint, findings), circumstances):
            return decided
        if why := lacks(checkpoint, circumstances.predecessor):
            return Unfinished(why)
        if not (why := _not_named(checkpoint, findings)):
            needed = circumstances.settle_seconds if circumstances.predecessor is None else RANKS_SECONDS
            return whole_once_quiet(circumstances, needed, CompleteBy.MARKER, "other ranks may still write their states")
        if circumstances.predecessor is None or circumstances.writer_died:
            return Unfinished(why)
        return whole_once_quiet(circumstances, long_quiet(circumstances), CompleteBy.QUIET, why)


def _not_named(checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding]) -> str | None:
    """Why `latest` does not say that rank 0 is done with it: it names this one, or was written later and names a later step."""
    pointer = next(iter(checkpoint.pointers), None)
    if pointer is None:
        return f"no {LATEST} beside it"
    named = (soundness.text_of(checkpoint, findings, pointer.file.path) or "").strip()
    if named == pointer.text:
        return None
    later, step = step_of(named), checkpoint.step
    passed = later is not None and step is not None and later > step and pointer.file.stat.mtime_ns >= checkpoint.saved_ns
    return None if passed else f"{LATEST} names {named or 'nothing'}, not {pointer.text}"
