"""Accelerate's `save_state`: by default `checkpoints/checkpoint_<I>`, a counter and no step; written in place, without a marker.

Facts: `accelerate/checkpointing.py`. Models, then `optimizer.bin`, `scheduler.bin`, samplers, `scaler.pt`, then each rank's
`random_states_<R>.pkl`, then `custom_checkpoint_<i>.pkl`. With FSDP or DeepSpeed the first are folders of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, LocalCheckpoint, Unfinished, Unit
from spotguard.core.layouts import soundness
from spotguard.core.layouts.base import Circumstances, Claim
from spotguard.core.layouts.generic_rule import assess_generic
from spotguard.core.layouts.tree_index import Place, last_name
from spotguard.core.structure import Finding, Probe

_NAME = re.compile(r"^checkpoint_[0-9]+$")
_RANDOM_STATES = re.compile(r"^random_states_[0-9]+\.pkl$")
_SIGN = re.compile(r"^(random_states_[0-9]+\.pkl|custom_checkpoint_[0-9]+\.pkl|optimizer(_[0-9]+)?\.bin)$")
_FIRST_OF_ALL = "random_states_0.pkl"


class Accelerate:
    name = "accelerate"

    def recognises(self, last_name: str, unit: Unit = Unit.DIRECTORY) -> bool:
        return unit is Unit.DIRECTORY and _NAME.match(last_name) is not None

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        known = not auto or any(any(map(_RANDOM_STATES.match, place.file_names_in(folder))) for folder in place.folders)
        for folder in place.folders:
            by_name = known and self.recognises(last_name(folder)) and place.index.holds_something(folder)
            if by_name or any(map(_SIGN.match, place.file_names_in(folder))):
                yield Claim(folder, Unit.DIRECTORY, (folder,))

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        if not circumstances.declared and all(file.path != _FIRST_OF_ALL for file in checkpoint.files):
            return Unfinished(f"no {_FIRST_OF_ALL} yet")
        return assess_generic(checkpoint, findings, circumstances)
