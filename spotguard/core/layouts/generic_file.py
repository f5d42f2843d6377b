"""A single file by its suffix, outside of any folder that is a checkpoint, of no known framework."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, LocalCheckpoint, Unit
from spotguard.core.layouts import generic_rule, soundness
from spotguard.core.layouts.base import Circumstances, Claim
from spotguard.core.layouts.generic_dir import GenericDir
from spotguard.core.layouts.hf_trainer import HfTrainer
from spotguard.core.layouts.tree_index import Place, last_name
from spotguard.core.structure import Finding, Probe
from spotguard.core.temporary import looks_temporary

_NAME = re.compile(r"\.(pt|pth|ckpt|bin|safetensors|npz|h5|keras|ubj|pkl)$")
_TRAINER_EXPORT = re.compile(
    r"^(model(-[0-9]+-of-[0-9]+)?\.safetensors|pytorch_model[^/]*\.bin|adapter_model\.(safetensors|bin)|tf_model\.h5"
    r"|(training_args|optimizer|scheduler)\.bin|(optimizer|scheduler|scaler)\.pt|rng_state(_[0-9]+)?\.pth)$"
)
"""What `Trainer.save_model()` and its relatives leave in the output folder itself: an export, rewritten at the end of training."""
_DIR = GenericDir()
_HF = HfTrainer()


class GenericFile:
    name = "generic-file"

    def recognises(self, last_name: str, unit: Unit = Unit.FILE) -> bool:
        return unit is Unit.FILE and _NAME.search(last_name) is not None

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        if not auto and any(_DIR.recognises(part) for part in place.path.split("/")):
            return  # "a file outside such a folder", also where such folders are not claimed
        for path in place.files:
            name = last_name(path)
            if self.recognises(name) and not (auto and is_export(place, name)):
                doubt = "its name looks temporary" if auto and looks_temporary(name) else ""
                yield Claim(path, Unit.FILE, (path,), doubt=doubt)

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        return generic_rule.assess_generic(checkpoint, findings, circumstances)


def is_export(place: Place, name: str) -> bool:
    """Whether it is what a Trainer leaves beside its checkpoints."""
    return _TRAINER_EXPORT.match(name) is not None and any(True for _ in _HF.claims(place, auto=True))
