"""When a checkpoint of the Hugging Face Trainer is whole (docs/layouts.md)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from spotguard.core.checkpoint import Assessment, CompleteBy, LocalCheckpoint, Unfinished, Whole
from spotguard.core.layouts.base import Circumstances
from spotguard.core.layouts.generic_rule import whole_once_quiet
from spotguard.core.layouts.learned import lacking
from spotguard.core.layouts.soundness import fault_in, probe_of, without_waiting
from spotguard.core.structure import Finding, Probe

MARKER = "trainer_state.json"
SENTINEL = "checkpoint-is-incomplete.txt"
"""Made by the just-in-time checkpoint before it saves, removed after it (transformers 5)."""

RANKS_SECONDS = 2.0
"""How long the rng files of other ranks are waited for. One that never comes costs reproducibility, not the resume."""

_RNG = re.compile(r"^rng_state(_[0-9]+)?\.pth$")
_OF_OTHER_RANKS = re.compile(r"^rng_state_[0-9]+\.pth$|\.distcp$|zero_pp_rank_|\.metadata$")
_WEIGHTS = re.compile(
    r"^(model|adapter_model|pytorch_model)\.(safetensors|bin)$|^(model|pytorch_model)\.(safetensors|bin)\.index\.json$"
    r"|^pytorch_model_fsdp\.bin$|^pytorch_model_fsdp_[0-9]+/\.metadata$"
)
_DEEPSPEED = re.compile(r"^global_step[0-9]+/")
_SHARDED = re.compile(r"^(pytorch_model_fsdp_[0-9]+|optimizer_[0-9]+|global_step[0-9]+)/")
_OPTIMIZER = re.compile(r"^optimizer\.(pt|bin)$|^optimizer_[0-9]+/\.metadata$|^global_step[0-9]+/.*optim_states\.pt$")
_SCHEDULER = re.compile(r"^scheduler\.(pt|bin)$")
_TRAINING_STATE = re.compile(r"^scaler\.pt$|^rng_state(_[0-9]+)?\.pth$")


def assess_hf(checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
    paths = {file.path for file in checkpoint.files}
    if SENTINEL in paths:
        return Unfinished(f"{SENTINEL} is still there")
    if not circumstances.declared and (reason := _unmarked(checkpoint, findings)):
        return Unfinished(reason)
    if decided := without_waiting(fault_in(checkpoint, findings) or _no_weights(paths), circumstances):
        return decided
    if missing := _missing_state(paths, circumstances.predecessor):
        return Unfinished(missing)
    return _once_settled(checkpoint, paths, circumstances)


def _unmarked(checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding]) -> str | None:
    """Why the marker does not say that this very step is done."""
    marker = next((file for file in checkpoint.files if file.path == MARKER), None)
    if marker is None:
        return f"no {MARKER} yet"
    finding = findings.get(probe_of(marker))
    if finding is None or not finding.sound:
        return f"{MARKER} does not parse yet"
    step = finding.document.get("global_step")
    if type(step) is not int or step != checkpoint.step:
        return f"{MARKER} tells of step {step!r}, not of {checkpoint.step}"
    return None


def _no_weights(paths: Collection[str]) -> str | None:
    if any(map(_WEIGHTS.match, paths)):
        return None
    if any(map(_DEEPSPEED.match, paths)) and "latest" in paths:
        return None
    return "no weights in it"


def _missing_state(paths: Collection[str], predecessor: tuple[str, ...] | None) -> str | None:
    """What is needed to go on training and is not there.

    A run with `save_only_model` has none of it, ever: its first checkpoint is told by the lack of all of it, later ones by the first.
    """
    deepspeed = any(map(_DEEPSPEED.match, paths))
    if predecessor is None and not any(p.match(path) for p in (_OPTIMIZER, _SCHEDULER, _TRAINING_STATE) for path in paths):
        return None
    for what, pattern in (("optimizer", _OPTIMIZER), ("scheduler", _SCHEDULER)):
        wanted = any(map(pattern.match, predecessor)) if predecessor is not None else not (what == "scheduler" and deepspeed)
        if wanted and not any(map(pattern.match, paths)):
            return f"no {what} state in it"
    return None


def _once_settled(checkpoint: LocalCheckpoint, paths: Collection[str], circumstances: Circumstances) -> Assessment:
    """The quiet that is needed besides the marker: mostly none."""
    settle = circumstances.settle_seconds
    if any(map(_SHARDED.match, paths)) and circumstances.predecessor is None:
        return whole_once_quiet(circumstances, settle, CompleteBy.MARKER, "other ranks may still write their shards")
    if not any(map(_OPTIMIZER.match, paths)) and circumstances.predecessor is None:
        return whole_once_quiet(circumstances, settle, CompleteBy.MARKER, "no optimizer in it: saved so, or being deleted")
    if _written_again(checkpoint):
        return whole_once_quiet(circumstances, settle, CompleteBy.MARKER, f"a file is newer than {MARKER}: it may be saved again")
    if missing := lacking(checkpoint, circumstances.predecessor, but=lambda path: _RNG.match(path) is not None):
        return Unfinished(f"no {missing}, which the one before it had: it may be being deleted")
    if any(map(_DEEPSPEED.match, paths)):  # all of FSDP's ranks had written before its `.metadata` came; DeepSpeed has nothing like it
        return whole_once_quiet(circumstances, RANKS_SECONDS, CompleteBy.MARKER, "other ranks may still write their states")
    ranks = {path for path in paths if _RNG.match(path)}
    earlier = {path for path in circumstances.predecessor or () if _RNG.match(path)}
    if earlier - ranks or (len(ranks) > 1 and circumstances.predecessor is None):
        return whole_once_quiet(circumstances, RANKS_SECONDS, CompleteBy.MARKER, "other ranks may still write their rng state")
    return Whole(CompleteBy.MARKER)


def _written_again(checkpoint: LocalCheckpoint) -> bool:
    """Whether the saving rank wrote anything after the marker, as when the same step is saved a second time in place."""
    marked = max(file.stat.mtime_ns for file in checkpoint.files if file.path == MARKER)
    return any(file.stat.mtime_ns > marked for file in checkpoint.files if not _OF_OTHER_RANKS.search(file.path))
