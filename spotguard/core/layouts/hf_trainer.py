"""The Hugging Face Trainer and its relatives (TRL): `checkpoint-<N>`, written in place, `trainer_state.json` last.

Facts: `transformers/trainer.py`, `_save_checkpoint` (4.5x and 5.x). The saving rank writes config, weights, tokenizer, training_args,
optimizer, scheduler, its rng state and then `trainer_state.json`; no barrier makes it wait for the rng files of the other ranks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, LocalCheckpoint, Unit
from spotguard.core.layouts import hf_trainer_rule, soundness
from spotguard.core.layouts.base import Circumstances, Claim
from spotguard.core.layouts.tree_index import NUMBERED_CHECKPOINT, Place, last_name
from spotguard.core.structure import Finding, Probe

_SIGNS = frozenset({hf_trainer_rule.MARKER, hf_trainer_rule.SENTINEL, "training_args.bin", "scheduler.pt"})
_RNG = re.compile(r"^rng_state(_[0-9]+)?\.pth$")
_SHARDED = re.compile(r"^(pytorch_model_fsdp_[0-9]+|global_step[0-9]+)$")
"""Folders of FSDP and DeepSpeed: with those there may be no other sign for long."""


class HfTrainer:
    name = "hf-trainer"

    def recognises(self, last_name: str, unit: Unit = Unit.DIRECTORY) -> bool:
        return unit is Unit.DIRECTORY and NUMBERED_CHECKPOINT.match(last_name) is not None

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        names = {f: place.file_names_in(f) for f in place.folders if self.recognises(last_name(f))}
        known = not auto or any(hf_trainer_rule.MARKER in files for files in names.values())
        for folder, files in names.items():
            signs = _SIGNS & files or any(map(_RNG.match, files)) or any(map(_SHARDED.match, place.folder_names_in(folder)))
            if (known or signs) and place.index.holds_something(folder):
                yield Claim(folder, Unit.DIRECTORY, (folder,))

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        return hf_trainer_rule.assess_hf(checkpoint, findings, circumstances)
