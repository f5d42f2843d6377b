"""A folder whose name ends in digits, of no known framework."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, LocalCheckpoint, Unit
from spotguard.core.layouts import generic_rule, soundness
from spotguard.core.layouts.base import Circumstances, Claim
from spotguard.core.layouts.tree_index import NUMBERED_CHECKPOINT, Place, last_name
from spotguard.core.structure import Finding, Probe
from spotguard.core.temporary import looks_temporary

_NAME = re.compile(r"[0-9](\.ckpt)?$")
_FIRST_FILES_OF_A_TRAINER = frozenset({"config.json", "adapter_config.json"})
_ACCELERATE = re.compile(r"^(checkpoint|step|epoch)_[0-9]+$")
_WEIGHTS = frozenset({"model.safetensors", "pytorch_model.bin"})
_TENSORBOARD = "events.out.tfevents."


class GenericDir:
    name = "generic-dir"

    def recognises(self, last_name: str, unit: Unit = Unit.DIRECTORY) -> bool:
        return unit is Unit.DIRECTORY and _NAME.search(last_name) is not None

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        for folder in place.folders:
            if not self.recognises(last_name(folder)) or not place.index.holds_something(folder):
                continue
            if not (auto and _holds_runs_or_logs(place, folder)):
                yield Claim(folder, Unit.DIRECTORY, (folder,), doubt=_doubt(place, folder) if auto else "")

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        return generic_rule.assess_generic(checkpoint, findings, circumstances)


def _holds_runs_or_logs(place: Place, folder: str) -> bool:
    """Whether it is the parent of other checkpoints, or a log, for all that its name ends in digits.

    The Trainer's hyper-parameter search writes `run-0/checkpoint-50`, and its TensorBoard callback `runs/Nov23_20-00-00_ip-10-0-0-7`.
    """
    if NUMBERED_CHECKPOINT.match(last_name(folder)):
        return False
    if folder in place.index.runs:
        return True
    files = [last_name(path) for entries in place.index.below(folder) for path in (*entries.files, *entries.links)]
    return bool(files) and all(file.startswith(_TENSORBOARD) for file in files)


def _doubt(place: Place, folder: str) -> str:
    """Why the name and what is in it do not tell enough. The first save of a run can be an unfinished one of another layout."""
    name = last_name(folder)
    if NUMBERED_CHECKPOINT.match(name) and _FIRST_FILES_OF_A_TRAINER & place.file_names_in(folder):
        return "it may be the first save of a Hugging Face Trainer, which is not finished until trainer_state.json is there"
    if _ACCELERATE.match(name) and _WEIGHTS & place.file_names_in(folder):
        return "it may be the first save of Accelerate, which is not finished until random_states_0.pkl is there"
    return "its name looks temporary" if looks_temporary(name) else ""
